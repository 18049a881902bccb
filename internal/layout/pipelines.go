package layout

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

func (l *Layout) addPipelines(files []placed) {
	decls := map[string]*declared[config.Pipeline]{}
	each(l, files, "pipeline", func(f *placed) []*config.Pipeline { return f.Pipelines }, func(f *placed, p *config.Pipeline) {
		if !f.project.options.Trusted || !l.checkConnections(f, p) {
			return
		}
		if _, twice := decls[p.Name]; twice {
			l.report(f.File, "pipeline", p.Name, p.Span, config.NameDuplicateDefinition, "Pipeline %s is already defined", p.Name)
			return
		}
		decls[p.Name] = &declared[config.Pipeline]{p, f.File, f.project}
		l.Pipelines = append(l.Pipelines, l.settings(p))
	})
	for i := range l.Pipelines {
		d := decls[l.Pipelines[i].Name]
		for _, name := range d.decl.Settings.Supercedes {
			if decls[name] == nil {
				l.report(d.file, "pipeline", d.decl.Name, d.decl.At("supercedes"), config.NameUnknown,
					"The pipeline %q supercedes an unknown pipeline %q", d.decl.Name, name)
			}
		}
	}
}

// checkConnections holds the tenant's rules about triggers and reporters.
func (l *Layout) checkConnections(f *placed, p *config.Pipeline) bool {
	ok := true
	check := func(uses []config.ConnectionUse, allowed config.Setting[[]string], kind string) {
		if !allowed.Set {
			return
		}
		for _, u := range uses {
			if !slices.Contains(allowed.Value, u.Connection) {
				l.report(f.File, "pipeline", p.Name, u.Span, config.NameUnknownConnection, "Unknown connection named %q: the %ss that the tenant allows are %v", u.Connection, kind, allowed.Value)
				ok = false
			}
		}
	}
	check(p.Triggers, l.tenant.AllowedTriggers, "trigger")
	check(p.Reporters, l.tenant.AllowedReporters, "reporter")
	return ok
}

// settings are a pipeline's with what depends on the tenant: the name of the status that its reporters
// set.
func (l *Layout) settings(p *config.Pipeline) pipeline.Settings {
	s := p.Settings
	s.Reporters = make(map[pipeline.Action][]pipeline.Reporter, len(p.Settings.Reporters))
	for action, reps := range p.Settings.Reporters {
		reps = slices.Clone(reps)
		for i := range reps {
			if config.Statuses(reps[i]) {
				reps[i].Labels = append(slices.Clone(reps[i].Labels), l.Name+"/"+p.Name)
			}
		}
		s.Reporters[action] = reps
	}
	l.tenant.Deployment.Apply(&s)
	return s
}

// Match names the pipelines of which some trigger asks for the event, which is about c (nil where it
// is about nothing that could be read), at the time now.
func (l *Layout) Match(e *event.Event, c *change.Change, now time.Time) []string {
	var out []string
	for i := range l.Pipelines {
		p := &l.Pipelines[i]
		if e.Pipeline != "" && e.Driver == "timer" && e.Pipeline != p.Name {
			continue
		}
		for k := range p.Triggers {
			if p.Triggers[k].Match(e, c, now) {
				out = append(out, p.Name)
				break
			}
		}
	}
	return out
}

// Tenant is what the state machine of a pipeline must know of the merged layout. The web root is the
// tenant's own, or empty.
func (l *Layout) Tenant(name string) pipeline.Tenant {
	if l.live != nil {
		return l.live.Tenant(name)
	}
	t := pipeline.Tenant{
		Name: l.Name, Layout: l.ID,
		Projects:        make(map[string]pipeline.Project, len(l.projects)),
		Semaphores:      l.Semaphores(),
		MaxChanges:      l.tenant.MaxChangesPerPipeline,
		MaxDependencies: l.tenant.MaxDependencies,
		WebRoot:         l.tenant.WebRoot,
		Resources:       l.tenant.Deployment.Resources(),
	}
	for _, p := range l.projects {
		t.Projects[p.canon] = l.pipelineProject(p, name)
	}
	for _, s := range l.Pipelines {
		for _, f := range s.Triggers {
			if f.Driver != "zuul" {
				continue
			}
			parent := len(f.Pipelines) == 0 || slices.Contains(f.Pipelines, name)
			t.WantParentEnqueued = t.WantParentEnqueued || parent && slices.Contains(f.Types, "parent-change-enqueued")
			t.WantMerged = t.WantMerged || slices.Contains(f.Types, event.ProjectChangeMerged)
		}
	}
	return t
}

func (l *Layout) pipelineProject(p *project, name string) pipeline.Project {
	out := pipeline.Project{
		Project: p.in.Project, Trusted: p.options.Trusted,
		Queue: p.queue, MergeMode: p.mergeMode, DefaultBranch: p.defaultBranch,
		ConfigFiles:        p.options.Paths(),
		AlwaysDynamic:      p.options.DynamicPatterns(),
		ExcludeUnprotected: p.in.ExcludeUnprotected,
		InPipeline:         slices.ContainsFunc(p.stanzas, func(st *stanza) bool { return st.mentions(name) }),
	}
	if q := l.queues[p.queue]; q != nil {
		out.PerBranch, out.AllowCircular, out.ByTopic = q.decl.PerBranch, q.decl.AllowCircular, q.decl.ByTopic
	}
	return out
}

// mentions tells whether the stanza or one of its templates has a section for the pipeline.
func (st *stanza) mentions(pipeline string) bool {
	if st.Pipeline(pipeline) != nil {
		return true
	}
	for _, t := range st.templates {
		for _, v := range t.variants {
			if v.Pipeline(pipeline) != nil {
				return true
			}
		}
	}
	return false
}

// Semaphores are those of the tenant, and the global ones that it may use, which win.
func (l *Layout) Semaphores() map[string]pipeline.Semaphore {
	out := make(map[string]pipeline.Semaphore, len(l.semaphores)+len(l.tenant.Semaphores))
	for name, d := range l.semaphores {
		out[name] = pipeline.Semaphore{Max: d.decl.Max}
	}
	for _, name := range l.tenant.Semaphores {
		if most, ok := l.in.GlobalSemaphores[name]; ok {
			out[name] = pipeline.Semaphore{Max: most, Global: true}
		}
	}
	return out
}

// ProjectBranch is a branch of a project.
type ProjectBranch struct {
	Project change.Project
	Branch  string
}

// TimerTargets lists, for a pipeline with timer triggers, the project-branches that get an event at
// each tick: every included branch of every project that the pipeline has in its configuration.
func (l *Layout) TimerTargets(name string) []ProjectBranch {
	var out []ProjectBranch
	for _, p := range l.projects {
		if !slices.ContainsFunc(p.stanzas, func(st *stanza) bool { return st.mentions(name) }) {
			continue
		}
		for _, b := range p.branches {
			if p.options.Includes(b.Name) {
				out = append(out, ProjectBranch{p.in.Project, b.Name})
			}
		}
	}
	return out
}

// SecretUse is a secret of the layout with its place, for the step that tries to decrypt it.
type SecretUse struct {
	Owner  change.Project
	Secret *config.Secret
	File   *config.File
}

// Secrets lists all secrets, by name.
func (l *Layout) Secrets() []SecretUse {
	out := make([]SecretUse, 0, len(l.secrets))
	for _, name := range slices.Sorted(maps.Keys(l.secrets)) {
		d := l.secrets[name]
		out = append(out, SecretUse{d.origin.in.Project, d.decl, d.file})
	}
	return out
}

// MergeMode is how changes of a project are merged; empty, where the tenant does not have it.
func (l *Layout) MergeMode(p change.Project) string {
	if q := l.names[p.Canonical()]; q != nil {
		return q.mergeMode
	}
	return ""
}

// DefaultBranch is a project's default branch.
func (l *Layout) DefaultBranch(p change.Project) string {
	if q := l.names[p.Canonical()]; q != nil {
		return cmp.Or(q.defaultBranch, "master")
	}
	return "master"
}
