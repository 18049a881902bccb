package read

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/gozer-ci/gozer/internal/deps"
)

// line is any line of the program.
type line struct {
	Kind     string
	Playbook string
	ID       string
	Text     string
	File     string
	Line     int
	OK       bool
	Partial  *bool
	Fatal    bool
	Name     string
	Pattern  string
	Module   string
	Role     string
	Hosts    json.RawMessage
	Fresh    []string
	Files    map[string]map[string]deps.Variable
	Reads    map[string]string
	Uses     []string
	External []string
	Args     map[string]any
	Delegate any `json:"delegate_to"`
	Local    bool
	User     string
	Handler  bool
	Tolerant bool
	Guarded  bool
	Dry      bool
	Env      map[string]string
	Folder   bool
	Sources  []string
	Contents []deps.Content
	Lookups  []string
	Script   string
	Objects  []map[string]any
	Loop     any
	Path     string
	// Inner: it runs on a bastion, by the Ansible of the host Controller; Outer: it is what runs that.
	Inner, Outer bool
	Controller   string
	// Aimed: the call that runs it names the repository's inventory.
	Aimed   bool
	Bastion string
}

// take puts the lines into the repository.
func take(r *deps.Repo, out []byte) error {
	for text := range bytes.Lines(out) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return fmt.Errorf("read an answer of Ansible's reader: %w", err)
		}
		if err := takeLine(r, &l); err != nil {
			return err
		}
	}
	settle(r)
	return nil
}

func takeLine(r *deps.Repo, l *line) error {
	at := deps.Place{File: l.File, Line: l.Line}
	switch l.Kind {
	case "inventory":
		r.Variables, r.Fresh, r.Settings.Bastion = l.Files, l.Fresh, l.Bastion
		return json.Unmarshal(l.Hosts, &r.Hosts)
	case "hosts":
		return json.Unmarshal(l.Hosts, &r.Hosts) // beside those that are there
	case "problem":
		if l.Fatal {
			return fmt.Errorf("%w: %s", ErrNoAnsible, l.Text)
		}
		r.Problems = append(r.Problems, deps.Problem{Job: l.Playbook, At: at, Text: l.Text})
		if j := r.Job(l.Playbook); j != nil && (l.Partial == nil || *l.Partial) {
			j.Partial = true
		}
	case "play":
		p := deps.Play{Name: l.Name, Pattern: l.Pattern, At: at, Inner: l.Inner, Outer: l.Outer}
		if j := r.Job(l.Playbook); j != nil {
			j.Plays = append(j.Plays, p)
			return json.Unmarshal(l.Hosts, &j.Plays[len(j.Plays)-1].Hosts)
		}
	case "task":
		return takeTask(r, l, at)
	case "playbook":
		takePlaybook(r, l)
	}
	return nil
}

func takeTask(r *deps.Repo, l *line, at deps.Place) error {
	j := r.Job(l.Playbook)
	if j == nil {
		return nil
	}
	at.Task = l.Name
	j.Tasks = append(j.Tasks, deps.Task{Name: l.Name, Module: l.Module, Args: l.Args, Role: l.Role, At: at, Handler: l.Handler, Delegate: l.Delegate,
		Guarded: l.Guarded, Tolerant: l.Tolerant, Lookups: l.Lookups, Local: l.Local, User: l.User, Folder: l.Folder, Sources: l.Sources, Contents: l.Contents, Inner: l.Inner, Outer: l.Outer, Dry: l.Dry, Environment: l.Env,
		Script: l.Script, Objects: l.Objects})
	return json.Unmarshal(l.Hosts, &j.Tasks[len(j.Tasks)-1].Hosts)
}

func takePlaybook(r *deps.Repo, l *line) {
	j := r.Job(l.ID)
	if j == nil {
		return
	}
	if l.Inner && !j.Inner {
		// What its own playbook does is to run this one.
		j.Inner, j.Playbooks = true, nil
		j.Around, j.Reads, j.Uses = j.Reads, nil, nil
		for i := range j.Plays {
			j.Plays[i].Outer = !j.Plays[i].Inner
		}
		for i := range j.Tasks {
			j.Tasks[i].Outer = !j.Tasks[i].Inner
		}
	}
	into := &j.Reads
	if l.Outer {
		into = &j.Around
	}
	if *into == nil {
		*into = map[string]string{}
	}
	maps.Copy(*into, l.Reads)
	if l.Outer {
		return
	}
	for _, name := range l.Uses {
		if !slices.Contains(j.Uses, name) {
			j.Uses = append(j.Uses, name)
		}
	}
	for _, name := range l.External {
		if !slices.Contains(j.External, name) {
			j.External = append(j.External, name)
		}
	}
	j.Partial = j.Partial || !l.OK
	if !l.Inner {
		return
	}
	if !slices.Contains(j.Playbooks, l.Path) {
		j.Playbooks = append(j.Playbooks, l.Path)
	}
	if l.Controller != "" {
		j.Controller = l.Controller
	}
	j.Aimed = j.Aimed || l.Aimed
}

// settle finds what is private to a build: nodes that the inventory does not have are made for it, and so
// is what a playbook does there that a job runs on such nodes, unless it is told to work on those of the inventory.
func settle(r *deps.Repo) {
	for i := range r.Jobs {
		j := &r.Jobs[i]
		if !j.Inner {
			continue
		}
		for _, n := range j.Nodes {
			if slices.Contains(r.Fresh, n) {
				j.Private = j.Private || !j.Aimed
			} else if len(j.Nodes) == 1 && j.Controller == "" {
				j.Controller = n
			}
		}
		if j.Controller == "" {
			// A name that no host has, where none is known.
			j.Controller = cmp.Or(r.Settings.Bastion, "the-bastion")
		}
	}
}
