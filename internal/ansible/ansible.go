// Package ansible runs playbooks with real Ansible: it keeps pinned versions of Ansible in virtual
// environments, lays out the callbacks and modules that Gozer brings, writes inventories, variables and
// configuration in the form that Zuul jobs expect, starts ansible-playbook through whatever confines it,
// and turns what happens into events and one of a few results. What is run when, and with which trust,
// is the executor's business. See semantics 4.4, 4.5 and 4.8.
package ansible

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Release is what stands for a version that jobs name: a release of Ansible, which is ansible-core with
// the collections that jobs find without asking, and everything that they need, pinned.
type Release struct {
	// Version is the job's word; Ansible and Core are releases of the packages of these names.
	Version, Ansible, Core string
	requirements           []byte
}

// DefaultVersion is the one of jobs and tenants that name none.
const DefaultVersion = "9"

//go:embed requirements/*.txt
var requirements embed.FS

var releases = readRequirements()

// readRequirements makes the table of releases of the files that pin them.
func readRequirements() map[string]Release {
	out := map[string]Release{}
	files, err := requirements.ReadDir("requirements")
	if err != nil {
		panic("ansible: the pinned requirements are not in this program: " + err.Error())
	}
	for _, f := range files {
		text, err := requirements.ReadFile("requirements/" + f.Name())
		if err != nil {
			panic("ansible: " + err.Error())
		}
		r := Release{Version: strings.TrimSuffix(f.Name(), ".txt"), requirements: text}
		for line := range strings.Lines(string(text)) {
			name, pinned, _ := strings.Cut(strings.TrimSpace(line), "==")
			switch name {
			case "ansible":
				r.Ansible = pinned
			case "ansible-core":
				r.Core = pinned
			}
		}
		out[r.Version] = r
	}
	return out
}

// Versions are all that jobs can name, in order.
func Versions() []string { return slices.Sorted(maps.Keys(releases)) }

// ReleaseOf is what stands for a version; empty is the default.
func ReleaseOf(version string) (Release, error) {
	if version == "" {
		version = DefaultVersion
	}
	r, ok := releases[version]
	if !ok {
		return Release{}, fmt.Errorf("ansible-version %q is not supported; use %s", version, strings.Join(Versions(), " or "))
	}
	return r, nil
}

// folder is the name of the virtual environment: another one when any pin changes.
func (r Release) folder() string {
	sum := sha256.Sum256(r.requirements)
	return "ansible-" + r.Ansible + "-" + hex.EncodeToString(sum[:4])
}
