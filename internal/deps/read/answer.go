package read

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

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
	Folder   bool
	Sources  []string
	Contents []deps.Content
	Lookups  []string
	Loop     any
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
		r.Variables, r.Fresh = l.Files, l.Fresh
		return json.Unmarshal(l.Hosts, &r.Hosts)
	case "problem":
		if l.Fatal {
			return fmt.Errorf("%w: %s", ErrNoAnsible, l.Text)
		}
		r.Problems = append(r.Problems, deps.Problem{Job: l.Playbook, At: at, Text: l.Text})
		if j := r.Job(l.Playbook); j != nil && (l.Partial == nil || *l.Partial) {
			j.Partial = true
		}
	case "play":
		p := deps.Play{Name: l.Name, Pattern: l.Pattern, At: at}
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
		Guarded: l.Guarded, Tolerant: l.Tolerant, Lookups: l.Lookups, Local: l.Local, User: l.User, Folder: l.Folder, Sources: l.Sources, Contents: l.Contents})
	return json.Unmarshal(l.Hosts, &j.Tasks[len(j.Tasks)-1].Hosts)
}

func takePlaybook(r *deps.Repo, l *line) {
	j := r.Job(l.ID)
	if j == nil {
		return
	}
	if j.Reads == nil {
		j.Reads = map[string]string{}
	}
	for f, why := range l.Reads {
		j.Reads[f] = why
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
}

// settle finds what is private to a build: nodes that the inventory does not have are made for it, and so
// is what a playbook does there that a job runs on such nodes.
func settle(r *deps.Repo) {
	bastion := bastion(r)
	for i := range r.Jobs {
		j := &r.Jobs[i]
		if !j.Inner {
			continue
		}
		j.Controller = bastion
		for _, n := range j.Nodes {
			if slices.Contains(r.Fresh, n) {
				j.Private = true
			} else if len(j.Nodes) == 1 {
				j.Controller = n
			}
		}
	}
}

// bastion finds the host on which Ansible runs: the one that the settings name, or the only one that is
// called or grouped so; else a name that no host has.
func bastion(r *deps.Repo) string {
	if r.Settings.Bastion != "" {
		return r.Settings.Bastion
	}
	called := func(name string) bool { return strings.Contains(name, "bastion") || strings.HasPrefix(name, "bridge") }
	var found []string
	for host, groups := range r.Hosts {
		if called(host) || slices.ContainsFunc(groups, called) {
			found = append(found, host)
		}
	}
	if len(found) == 1 {
		return found[0]
	}
	return "the-bastion"
}
