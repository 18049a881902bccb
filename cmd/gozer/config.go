package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gozer-ci/gozer/internal/checkout"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/layout"
	"github.com/gozer-ci/gozer/internal/settings"
)

// configCommand is what people do with a configuration before any server sees it.
func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Check, explain and compare Zuul configuration, without a server", GroupID: "local",
		Long: `Reads Zuul configuration from folders: working trees as they are (committed or not), bare repositories with all
their branches, single revisions, and folders that hold many of those. Nothing is changed, and no server is asked.

Without --tenant-file one tenant is guessed: repositories with pipelines, base jobs or stanzas for other projects
are config projects, the others are not; a working tree stands for the branch that it is a change to. Each command
says what it took for what.

A PATH is a folder, NAME=FOLDER to say what the project is called, or FOLDER@REVISION for what git has there.`,
		Example: `  gozer config check                                    the repository you are in
  gozer config check ~/src/opendev                      all repositories below a folder
  gozer config check --tenant-file main.yaml /srv/git   a whole tenant, bare repositories
  gozer config show tox-docs --pipeline gate            each attribute, and which line set it
  gozer config graph --pipeline deploy --format svg > deploy.svg
  gozer config diff main HEAD                           which jobs my change alters, and how`,
	}
	cmd.AddCommand(configCheck(), configJobs(), configShow(), configGraph(), configDiff(), configGenerate(), configBench())
	return cmd
}

// checkoutFlags are those of every command that reads checkouts.
type checkoutFlags struct {
	o           checkout.Options
	settings    string
	connections []string
	keys        string
	password    string
	whole       bool
	partial     bool
}

func (f *checkoutFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.o.TenantFile, "tenant-file", "", "tenant file (Zuul's main.yaml); without one a tenant is guessed")
	fl.StringVarP(&f.o.Tenant, "tenant", "t", "", "this tenant of the tenant file; without it all of them")
	fl.StringVar(&f.settings, "config", "", "configuration of a gozer server: its connections, and its tenant file")
	fl.StringArrayVar(&f.connections, "connection", nil, "NAME=DRIVER of a connection whose name says nothing, such as review=gerrit")
	fl.BoolVar(&f.o.AllBranches, "all-branches", false, "read the other branches of working trees, too")
	fl.BoolVar(&f.whole, "strict", false, "all repositories are given: what nothing defines is an error")
	fl.BoolVar(&f.partial, "partial", false, "repositories are missing on purpose: what nothing defines is a warning")
	cmd.MarkFlagsMutuallyExclusive("strict", "partial")
	for _, name := range []string{"tenant-file", "config"} {
		_ = cmd.MarkFlagFilename(name, "yaml")
	}
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
}

// load reads the paths as the flags say.
func (f *checkoutFlags) load(cmd *cobra.Command, paths []string) (*checkout.Set, error) {
	o := f.o
	o.Paths = paths
	o.Connections, o.Hosts = map[string]string{}, map[string]string{}
	switch {
	case f.whole:
		o.Completeness = checkout.Whole
	case f.partial:
		o.Completeness = checkout.Partial
	}
	if f.settings != "" {
		set, err := settings.Read(f.settings)
		if err != nil {
			return nil, err
		}
		o.OnlyConnections = true
		for _, c := range set.Connections {
			o.Connections[c.Name], o.Hosts[c.Name] = c.Driver, c.Host
			if len(paths) == 0 && c.Path != "" {
				o.Paths = append(o.Paths, c.Path)
			}
		}
		if o.TenantFile == "" {
			o.TenantFile = set.Tenants
		}
	}
	for _, c := range f.connections {
		name, driver, ok := strings.Cut(c, "=")
		if !ok {
			return nil, fmt.Errorf("--connection %s: write NAME=DRIVER, such as review=gerrit", c)
		}
		o.Connections[name] = driver
	}
	if f.keys != "" {
		var err error
		if o.Opens, err = exported(f.keys, f.password); err != nil {
			return nil, err
		}
	}
	p := newProgress("reading repositories")
	o.Progress = p.step
	defer p.done()
	return checkout.Load(cmd.Context(), o)
}

// known completes words from the tenant that the paths have; nothing, where it cannot be read.
func (f *checkoutFlags) known(cmd *cobra.Command, paths []string, names func(*checkout.Tenant) []string) ([]string, cobra.ShellCompDirective) {
	_, t, err := f.one(cmd, paths)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names(t), cobra.ShellCompDirectiveNoFileComp
}

// one loads the paths and takes the tenant that the flags name, or the only one.
func (f *checkoutFlags) one(cmd *cobra.Command, paths []string) (*checkout.Set, *checkout.Tenant, error) {
	s, err := f.load(cmd, paths)
	if err != nil {
		return nil, nil, err
	}
	if len(s.Tenants) == 1 {
		return s, s.Tenants[0], nil
	}
	names := make([]string, len(s.Tenants))
	for i, t := range s.Tenants {
		names[i] = t.Name
	}
	return nil, nil, fmt.Errorf("name the tenant with --tenant; there are: %s", strings.Join(names, ", "))
}

// progress tells on a terminal how far something is that takes longer than two seconds. Many may call step.
type progress struct {
	mu    sync.Mutex
	what  string
	start time.Time
	last  time.Time
	on    bool
	shown bool
}

func newProgress(what string) *progress {
	return &progress{what: what, start: time.Now(), on: term.IsTerminal(int(os.Stderr.Fd()))}
}

func (p *progress) step(done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.on || now.Sub(p.start) < 2*time.Second || now.Sub(p.last) < 100*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	fmt.Fprintf(os.Stderr, "\r%s: %d of %d\x1b[K", p.what, done, total)
}

// done wipes what was shown.
func (p *progress) done() {
	if p.shown {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}

// where is what a job is looked at for: a section of the tenant.
type where struct{ project, branch, pipeline string }

func (w *where) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVarP(&w.project, "project", "p", "", "for a change to this project; without it the first that fits")
	fl.StringVarP(&w.branch, "branch", "b", "", "for a change to this branch; without it the default branch")
	fl.StringVar(&w.pipeline, "pipeline", "", "in this pipeline; without it the first that fits")
}

// complete lets the shell complete the flags of a command that reads the paths. Skip is how many arguments are none.
func (w *where) complete(cmd *cobra.Command, f *checkoutFlags, skip int) {
	complete := func(flag string, names func(t *checkout.Tenant) []string) {
		_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return f.known(cmd, args[min(skip, len(args)):], names)
		})
	}
	complete("project", (*checkout.Tenant).Names)
	complete("branch", func(t *checkout.Tenant) []string {
		return ofSections(t, func(s layout.Section) string { return s.Branch })
	})
	complete("pipeline", func(t *checkout.Tenant) []string {
		return ofSections(t, func(s layout.Section) string { return s.Pipeline })
	})
}

// ofSections lists what the sections of a tenant have, each once.
func ofSections(t *checkout.Tenant, what func(layout.Section) string) []string {
	var out []string
	for _, s := range t.Layout.Sections() {
		if name := what(s); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// choose finds the section that is meant: the first that fits, the default branches before others. The others that
// would fit come with it. Job, where it is not empty, must be in it.
func (w *where) choose(t *checkout.Tenant, job string) (layout.Section, []layout.Section, error) {
	project := ""
	if w.project != "" {
		p, ok := t.Find(w.project)
		if !ok {
			return layout.Section{}, nil, fmt.Errorf("there is no project %q; %s%s", w.project, listed("there are", t.Names()), hint(config.Suggest(w.project, t.Names())))
		}
		project = p.Canonical()
	}
	if known := append(t.Layout.Jobs(), "noop"); job != "" && !slices.Contains(known, job) {
		return layout.Section{}, nil, fmt.Errorf("there is no job %q%s", job, hint(config.Suggest(job, known)))
	}
	def := map[string]string{}
	for _, p := range t.Projects {
		def[p.Canonical()] = p.Default
	}
	var fits, others []layout.Section
	var pipelines, branches []string
	for _, s := range t.Layout.Sections() {
		if project != "" && s.Project.Canonical() != project {
			continue
		}
		if !slices.Contains(pipelines, s.Pipeline) {
			pipelines = append(pipelines, s.Pipeline)
		}
		if !slices.Contains(branches, s.Branch) {
			branches = append(branches, s.Branch)
		}
		if w.branch != "" && s.Branch != w.branch || w.pipeline != "" && s.Pipeline != w.pipeline {
			continue
		}
		if job != "" && !slices.Contains(t.Layout.SectionJobs(s), job) {
			continue
		}
		if w.branch == "" && s.Branch != def[s.Project.Canonical()] {
			others = append(others, s)
			continue
		}
		fits = append(fits, s)
	}
	fits = append(fits, others...)
	if len(fits) > 0 {
		return fits[0], fits[1:], nil
	}
	switch {
	case len(pipelines) == 0 && w.project != "":
		return layout.Section{}, nil, fmt.Errorf("no pipeline is configured for project %s", w.project)
	case len(pipelines) == 0:
		return layout.Section{}, nil, fmt.Errorf("no project has a pipeline configured")
	case w.pipeline != "" && !slices.Contains(pipelines, w.pipeline):
		return layout.Section{}, nil, fmt.Errorf("no project runs jobs in a pipeline %q; %s%s", w.pipeline, listed("pipelines", pipelines), hint(config.Suggest(w.pipeline, pipelines)))
	case w.branch != "" && !slices.Contains(branches, w.branch):
		return layout.Section{}, nil, fmt.Errorf("there is no branch %q; %s%s", w.branch, listed("branches", branches), hint(config.Suggest(w.branch, branches)))
	case job == "":
		return layout.Section{}, nil, fmt.Errorf("nothing runs in pipeline %s on branch %s", w.pipeline, w.branch)
	}
	return layout.Section{}, nil, fmt.Errorf("job %s is defined, but nothing runs it there: %s%s", job,
		"no project-pipeline names it", hint("leave out --project, --branch or --pipeline to see where it runs"))
}

// listed bounds a list in a sentence.
func listed(what string, names []string) string {
	const most = 12
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	return what + ": " + strings.Join(names, ", ") + more
}

func hint(s string) string {
	if s == "" {
		return ""
	}
	return "\n  hint: " + s
}
