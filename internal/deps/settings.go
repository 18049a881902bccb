package deps

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// Settings are the list "deps" of gozer.yaml, the file beside the Zuul configuration that Zuul does not
// read.
type Settings struct {
	Reasons []Reason
	Waivers []Waiver
	Access  []ModuleAccess
	// Setup names the jobs that prepare the ground for the others.
	Setup []string
	// Names says which host a name leads to.
	Names map[string]string
	// Projects says where the checkouts of other projects are, relative to this one.
	Projects map[string]string
	// Bastion is the host on which Ansible runs for jobs that run a playbook there.
	Bastion string
	// Inventory names the sources of the inventory, where they are not to be guessed.
	Inventory []string
}

// Reason says why a job comes after another, in the words of people. It is itself an edge.
type Reason struct {
	Job, After, Reason string
	At                 Place
}

// Waiver says that a finding is known and accepted, why, and until when ("2027-06-30"; empty: for good).
// A rule or jobs that are not named stand for all; of two jobs the order does not count.
type Waiver struct {
	Rule, Reason, Until string
	Jobs                []string
	At                  Place
}

// ModuleAccess adds a module, all tasks of a role, or commands that a regular expression finds, to the
// table.
type ModuleAccess struct {
	Module, Role, Command string
	At                    Place
	Access                []AccessRule
}

// ParseSettings reads a gozer.yaml; file is its name in messages. Keys that are not known fail.
func ParseSettings(file string, data []byte) (Settings, error) {
	var doc struct {
		Deps []yaml.Node    `yaml:"deps"`
		Rest map[string]any `yaml:",inline"`
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return Settings{}, fmt.Errorf("read %s: %w", file, err)
	}
	s := Settings{Names: map[string]string{}, Projects: map[string]string{}}
	var problems []error
	for i := range doc.Deps {
		if err := s.add(file, &doc.Deps[i]); err != nil {
			problems = append(problems, err)
		}
	}
	return s, errors.Join(problems...)
}

func (s *Settings) add(file string, n *yaml.Node) error {
	var e struct {
		Job, After, Reason string
		Waive              *struct {
			Rule string
			Jobs []string
		}
		Until     string
		Module    string
		Role      string
		Command   string
		Bastion   string
		Access    []AccessRule
		Setup     string
		Name      string
		Host      string
		Project   string
		Path      string
		Inventory []string
	}
	at := Place{File: file, Line: n.Line}
	text, err := yaml.Marshal(n)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&e); err != nil {
		return fmt.Errorf("%s: this entry of deps: %s", at, strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:")), " "))
	}
	switch {
	case e.Waive != nil:
		if strings.TrimSpace(e.Reason) == "" {
			return fmt.Errorf("%s: a waiver needs a reason", at)
		}
		s.Waivers = append(s.Waivers, Waiver{Rule: e.Waive.Rule, Jobs: e.Waive.Jobs, Reason: e.Reason, Until: e.Until, At: at})
	case e.Job != "" && e.After != "":
		s.Reasons = append(s.Reasons, Reason{Job: e.Job, After: e.After, Reason: e.Reason, At: at})
	case e.Module != "" || e.Role != "" || e.Command != "":
		s.Access = append(s.Access, ModuleAccess{At: at, Module: e.Module, Role: e.Role, Command: e.Command, Access: e.Access})
	case e.Bastion != "":
		s.Bastion = e.Bastion
	case e.Setup != "":
		s.Setup = append(s.Setup, e.Setup)
	case e.Name != "" && e.Host != "":
		s.Names[e.Name] = e.Host
	case e.Project != "" && e.Path != "":
		s.Projects[e.Project] = e.Path
	case len(e.Inventory) > 0:
		s.Inventory = append(s.Inventory, e.Inventory...)
	default:
		return fmt.Errorf("%s: an entry of deps is one of job and after, waive, module, role, command, setup, bastion, name and host, project and path, inventory", at)
	}
	return nil
}
