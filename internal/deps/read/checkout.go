// Package read gets the content of a deployment repository for deps: the Zuul configuration of a
// checkout, its files, its history, and what its playbooks say, read by Ansible's own loader in a
// subprocess. It is the shell around the pure package deps, and carries out the verbs of gozer deps:
// each takes a writer and plain options. It needs no server, and changes nothing in the checkout.
package read

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/deps"
	"github.com/gozer-ci/gozer/internal/job"
)

// ErrNoConfiguration is returned (wrapped) for a folder that is no Zuul repository.
var ErrNoConfiguration = errors.New("no Zuul configuration (zuul.yaml, zuul.d, .zuul.yaml, .zuul.d) is there")

// checkout is a folder with a Zuul configuration.
type checkout struct {
	root  string
	files []string
	conf  []*config.File
	// definitions of each job name, in load order; names in order of first definition.
	definitions map[string][]placed
	names       []string
	// projects are checkouts of others that jobs name, by name.
	projects map[string]string
	// branches are names of what is checked out; others has the projects whose stanzas are there too.
	branches []string
	others   map[string]bool
	// ignored are places of configuration that Zuul does not read, as another one comes first.
	ignored []string
}

// placed is a definition with the file that it is in; foreign: it is one of another project.
type placed struct {
	*config.Job
	file    string
	foreign bool
}

func openCheckout(ctx context.Context, root string) (*checkout, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(abs); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", root)
	}
	c := &checkout{root: abs, definitions: map[string][]placed{}, branches: branches(ctx, abs)}
	if c.files, err = listFiles(ctx, abs); err != nil {
		return nil, err
	}
	chosen, ignored := config.Select(c.files, nil)
	c.ignored = ignored
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%s: %w", root, ErrNoConfiguration)
	}
	for _, path := range chosen {
		data, err := os.ReadFile(filepath.Join(abs, path))
		if err != nil {
			return nil, err
		}
		f := config.Parse(job.Source{Path: path}, data, config.Options{})
		c.conf = append(c.conf, f)
		for _, j := range f.Jobs {
			if !c.here(j) {
				continue
			}
			if c.definitions[j.Name] == nil {
				c.names = append(c.names, j.Name)
			}
			c.definitions[j.Name] = append(c.definitions[j.Name], placed{Job: j, file: path})
		}
	}
	c.others = c.foreign(ctx)
	return c, nil
}

// listFiles are the files that git knows, else all below the folder.
func listFiles(ctx context.Context, root string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", ".")
	if out, err := cmd.Output(); err == nil && len(out) > 0 {
		files := strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
		files = slices.DeleteFunc(files, func(f string) bool {
			info, err := os.Stat(filepath.Join(root, f))
			return err != nil || info.IsDir()
		})
		slices.Sort(files)
		return slices.Compact(files), nil
	}
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			files = append(files, rel)
		}
		return nil
	})
	slices.Sort(files)
	return files, err
}

func (c *checkout) has(path string) bool {
	_, ok := slices.BinarySearch(c.files, path)
	return ok
}

// effective is what the definitions of a name and of its parents come to, as far as deps needs it.
// Branches do not count: a checkout has one.
type effective struct {
	before   []string
	run      []string
	vars     map[string]any
	nodes    []job.Node
	groups   []job.Group
	matchers []deps.Matcher
	after    []deps.Dependency
	held     []string
	secrets  []string
	abstract bool
	text     string
	at       deps.Place
}

// settle freezes a job by name. Parents that are not in the repository are taken as empty.
func (c *checkout) settle(name string, seen map[string]bool) *effective {
	e := &effective{vars: map[string]any{}}
	defs := c.definitions[name]
	if len(defs) == 0 || seen[name] {
		return e
	}
	seen[name] = true
	if p := defs[0].Parent; p.Set && p.Value != "" {
		e = c.settle(p.Value, seen)
	}
	for _, d := range defs {
		c.apply(e, d)
	}
	e.abstract = defs[len(defs)-1].Abstract.Or(false)
	e.text = defs[0].Description.Or("")
	e.at = deps.Place{File: defs[0].file, Line: defs[0].Span.Line}
	return e
}

func (c *checkout) apply(e *effective, d placed) {
	// Playbooks of other projects are no files of this one.
	for _, p := range d.PreRun.Value {
		if !d.foreign {
			e.before = append(e.before, p.Path)
		}
	}
	if d.Run.Set {
		e.run = nil
		for _, p := range d.Run.Value {
			if !d.foreign {
				e.run = append(e.run, p.Path)
			}
		}
	}
	if d.Vars.Set {
		if d.Vars.Mode == config.Override {
			e.vars = map[string]any{}
		}
		merge(e.vars, d.Vars.Value)
	}
	if d.Nodeset.Set {
		c.nodeset(e, d.Nodeset.Value)
	}
	e.setMatchers(d, "files", d.Files, false)
	e.setMatchers(d, "irrelevant-files", d.IrrelevantFiles, true)
	if d.Dependencies.Set {
		if d.Dependencies.Mode != config.Inherit {
			e.after = nil
		}
		for _, x := range d.Dependencies.Value {
			e.after = append(e.after, deps.Dependency{Job: x.Name, Soft: x.Soft})
		}
	}
	for _, s := range d.Secrets.Value {
		if !slices.Contains(e.secrets, s.Secret) {
			e.secrets = append(e.secrets, s.Secret)
		}
	}
	for _, s := range d.Semaphores.Value {
		if !slices.Contains(e.held, s.Name) {
			e.held = append(e.held, s.Name)
		}
	}
}

func (e *effective) setMatchers(d placed, attr string, s config.Setting[[]change.Pattern], irrelevant bool) {
	if !s.Set {
		return
	}
	if s.Mode != config.Inherit {
		e.matchers = slices.DeleteFunc(slices.Clone(e.matchers), func(m deps.Matcher) bool { return m.Irrelevant == irrelevant })
	}
	line := d.At(attr).Line
	for _, p := range s.Value {
		e.matchers = append(e.matchers, deps.Matcher{Pattern: p.Regex, Irrelevant: irrelevant, Match: p.Match, At: deps.Place{File: d.file, Line: line}})
	}
}

func (c *checkout) nodeset(e *effective, use config.NodesetUse) {
	set := use.Inline
	for _, f := range c.conf {
		for _, n := range f.Nodesets {
			if set == nil && n.Name == use.Name {
				set = n
			}
		}
	}
	e.nodes, e.groups = nil, nil
	if set != nil {
		e.nodes, e.groups = set.Nodes, set.Groups
	}
}

func merge(into, from map[string]any) {
	for k, v := range from {
		if a, ok := into[k].(map[string]any); ok {
			if b, ok := v.(map[string]any); ok {
				merge(a, b)
				continue
			}
		}
		into[k] = v
	}
}

// pipelines collects the stanzas and templates of the repository by pipeline.
func (c *checkout) pipelines() []deps.Pipeline {
	var out []deps.Pipeline
	at := func(name string) *deps.Pipeline {
		for i := range out {
			if out[i].Name == name {
				return &out[i]
			}
		}
		out = append(out, deps.Pipeline{Name: name})
		return &out[len(out)-1]
	}
	var add func(file string, p *config.Project, of string, seen []string)
	add = func(file string, p *config.Project, of string, seen []string) {
		for i := range p.Pipelines {
			pp := &p.Pipelines[i]
			for _, v := range pp.Jobs {
				if c.here(v) {
					c.addMember(at(pp.Pipeline+of), placed{Job: v, file: file})
				}
			}
		}
		for _, name := range p.Templates {
			for _, f := range c.conf {
				for _, t := range f.Templates {
					if t.Name == name && !slices.Contains(seen, name) {
						add(f.Source.Path, t, of, append(seen, name))
					}
				}
			}
		}
	}
	for _, f := range c.conf {
		for _, p := range f.Projects {
			of := ""
			if c.others[p.Name] {
				of = " of " + p.Name
			}
			add(f.Source.Path, p, of, nil)
		}
	}
	return out
}

func (c *checkout) addMember(p *deps.Pipeline, v placed) {
	e := c.settle(v.Name, map[string]bool{})
	c.apply(e, v)
	m := deps.Member{Job: v.Name, At: deps.Place{File: v.file, Line: v.Span.Line}, After: slices.Clone(e.after), Semaphores: slices.Clone(e.held)}
	if old := p.Member(v.Name); old != nil {
		*old = m
		return
	}
	p.Members = append(p.Members, m)
}

func (c *checkout) semaphores() map[string]int {
	out := map[string]int{}
	for _, f := range c.conf {
		for _, s := range f.Semaphores {
			out[s.Name] = max(1, s.Max)
		}
	}
	return out
}

// playbooks finds what a job really runs: the playbooks that variables of the job name, where there are
// some (a job that runs a playbook on a bastion), else its own, those before run first. Programs are left
// out.
func (c *checkout) playbooks(e *effective) (paths []string, inner bool) {
	for _, key := range slices.Sorted(maps.Keys(e.vars)) {
		list, ok := e.vars[key].([]any)
		if !ok {
			list = []any{e.vars[key]}
		}
		for _, v := range list {
			if name, ok := v.(string); ok && isYAML(name) {
				if path := c.named(name); path != "" && !slices.Contains(paths, path) {
					paths = append(paths, path)
				}
			}
		}
	}
	if len(paths) > 0 {
		return paths, true
	}
	return c.own(e), false
}

// own are the playbooks of a job itself that are in the repository.
func (c *checkout) own(e *effective) (paths []string) {
	for _, path := range slices.Concat(e.before, e.run) {
		for _, full := range []string{path, path + ".yaml", path + ".yml"} {
			if c.has(full) && isYAML(full) {
				paths = append(paths, full)
				break
			}
		}
	}
	return paths
}

// named finds the playbook that a name stands for: a path, or the end of the path of just one playbook.
func (c *checkout) named(name string) string {
	if c.has(name) {
		if c.isPlaybook(name) {
			return name
		}
		return ""
	}
	var found []string
	for _, f := range c.files {
		if strings.HasSuffix(f, "/"+strings.TrimPrefix(name, "/")) && c.isPlaybook(f) {
			found = append(found, f)
		}
	}
	if i := slices.Index(found, "playbooks/"+name); i >= 0 {
		return found[i]
	}
	if len(found) == 1 {
		return found[0]
	}
	return ""
}

var aPlay = regexp.MustCompile(`(?m)^(- |  )(hosts|import_playbook|ansible\.builtin\.import_playbook):`)

// isPlaybook tells playbooks from other YAML files.
func (c *checkout) isPlaybook(path string) bool {
	data, err := os.ReadFile(filepath.Join(c.root, path))
	return err == nil && aPlay.Match(data)
}

func isYAML(path string) bool {
	return strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml")
}

// settings reads gozer.yaml, where there is one.
func (c *checkout) settings() (deps.Settings, error) {
	data, err := os.ReadFile(filepath.Join(c.root, "gozer.yaml"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(data)) == 0 {
		return deps.Settings{Names: map[string]string{}}, nil
	}
	if err != nil {
		return deps.Settings{}, err
	}
	return deps.ParseSettings("gozer.yaml", data)
}
