// Package ansible runs playbooks with real Ansible: it keeps pinned versions of ansible-core in virtual
// environments, lays out the callbacks and modules that Gozer brings, writes inventories, variables and
// configuration in the form that Zuul jobs expect, starts ansible-playbook through whatever confines it,
// and turns what happens into events and one of a few results. What is run when, and with which trust,
// is the executor's business. See semantics 4.4, 4.5 and 4.8.
package ansible

import "fmt"

// Versions maps what a job calls a version to the release of ansible-core that stands for it.
var Versions = map[string]string{
	"8": "2.15.13",
	"9": "2.16.14",
}

// DefaultVersion is the one of jobs and tenants that name none.
const DefaultVersion = "9"

// Release is the ansible-core release of a version that a job names; empty is the default.
func Release(version string) (string, error) {
	if version == "" {
		version = DefaultVersion
	}
	r, ok := Versions[version]
	if !ok {
		return "", fmt.Errorf("Ansible version %q is not supported; use 8 or 9", version)
	}
	return r, nil
}
