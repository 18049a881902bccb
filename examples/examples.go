// Package examples carries the tenants beside it in the program, for the demo.
package examples

import "embed"

// OpenDev is a fleet shaped like OpenDev's: see its README. Files that begin with #! are programs.
//
//go:embed all:opendev
var OpenDev embed.FS
