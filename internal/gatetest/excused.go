package gatetest

import _ "embed"

// Excused is the list of scenarios that may fail, with the reasons (conformance.ReadExcused).
//
//go:embed excused.txt
var Excused string
