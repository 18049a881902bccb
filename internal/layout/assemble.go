package layout

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
)

// New assembles the layout of a tenant. It never fails: what is wrong is told by Problems, and the
// rest works.
func New(in Input) *Layout { return assemble(in, nil, true) }

// assemble makes a static layout, or, given the live one, a speculative layout that shares the
// pipelines of it. Pipelines: those that are declared are looked at, although only a static layout takes them.
func assemble(in Input, live *Layout, pipelines bool) *Layout {
	l := &Layout{in: in, tenant: in.Tenant, live: live, Name: in.Tenant.Name,
		names:      make(map[string]*project, 2*len(in.Projects)),
		jobs:       make(map[string]*definitions, expected(live)),
		nodesets:   map[string]*declared[config.Nodeset]{},
		secrets:    map[string]*declared[config.Secret]{},
		semaphores: map[string]*declared[config.Semaphore]{},
		queues:     map[string]*declared[config.Queue]{},
		templates:  map[string]*templates{},
	}
	l.jobs[job.Noop] = noop()
	l.jobNames = make([]string, 0, expected(live))
	l.ID = identity(in, live)
	for i := range in.Projects {
		l.addProject(&in.Projects[i])
		l.unreachable(&in.Projects[i])
	}
	files := l.files()
	l.fileProblems(files)
	if pipelines {
		l.addPipelines(files)
	}
	if live != nil {
		l.Pipelines = live.Pipelines
	}
	l.addProviderObjects(files)
	each(l, files, "nodeset", func(f *placed) []*config.Nodeset { return f.Nodesets }, l.addNodeset)
	each(l, files, "secret", func(f *placed) []*config.Secret { return f.Secrets }, l.addSecret)
	each(l, files, "job", func(f *placed) []*config.Job { return f.Jobs }, l.addJob)
	each(l, files, "semaphore", func(f *placed) []*config.Semaphore { return f.Semaphores }, l.addSemaphore)
	each(l, files, "queue", func(f *placed) []*config.Queue { return f.Queues }, l.addQueue)
	l.checkNodesets(files)
	l.checkJobs()
	each(l, files, "project-template", func(f *placed) []*config.Project { return f.Templates }, l.addTemplate)
	l.addStanzas(files)
	l.settleProjects()
	return l
}

// expected is how many jobs a layout may have: a few more than the live one.
func expected(live *Layout) int {
	if live == nil {
		return 64
	}
	return len(live.jobs) + 16
}

// placed is a file with the project and branch it is in, and its implied branches.
type placed struct {
	*config.File
	project *project
	// implied are the branches for which jobs and templates of the file hold by themselves; nil: all.
	implied []change.Pattern
	// exact is the file's own branch as a matcher.
	exact []change.Pattern
	// variants is room for those of the file's jobs, so that they are made at once.
	variants []Variant
}

// each adds all declarations of one kind, file by file, where the project may have them.
func each[T any](l *Layout, files []placed, kind string, list func(*placed) []*T, add func(*placed, *T)) {
	for i := range files {
		decls := list(&files[i])
		if len(decls) == 0 || !files[i].project.options.Loads(kind) {
			continue
		}
		for _, d := range decls {
			add(&files[i], d)
		}
	}
}

func (l *Layout) addProject(in *ProjectInput) {
	p := &project{in: in, options: in.Options, name: in.Project.Name, canon: in.Project.Canonical()}
	if p.options == nil {
		p.options = config.NewTenantProject(in.Project.Connection, in.Project.Name, false)
	}
	p.branches = ordered(in)
	for _, b := range p.branches {
		if p.options.Includes(b.Name) {
			p.static++
		}
	}
	l.projects = append(l.projects, p)
	l.names[p.canon] = p
	if _, ambiguous := l.names[p.name]; ambiguous && p.name != p.canon {
		l.names[p.name] = nil
	} else {
		l.names[p.name] = p
	}
}

// unreachable tells of a project that its forge does not show. No proposal can alter that.
func (l *Layout) unreachable(in *ProjectInput) {
	if in.Unreachable == "" || l.live != nil {
		return
	}
	p := config.Problem{Severity: config.Error, Name: config.NameUnknown, Source: job.Source{Project: in.Project},
		Short: fmt.Sprintf("Zuul encountered an error while accessing the repo %s", in.Project.Name),
		Hint:  "create the project at its forge, let the forge's account read it, or take it out of the tenant file"}
	p.Text = fmt.Sprintf("%s.  The error was:\n\n  %s\n\n  %s", p.Short, in.Unreachable, p.Hint)
	l.Problems = append(l.Problems, p)
}

// ordered are the branches as they are loaded: the default branch first, the others by name.
func ordered(in *ProjectInput) []BranchInput {
	def := cmp.Or(in.DefaultBranch, "master")
	less := func(a, b BranchInput) int {
		switch {
		case a.Name == b.Name:
			return 0
		case a.Name == def:
			return -1
		case b.Name == def:
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	}
	if slices.IsSortedFunc(in.Branches, less) {
		return in.Branches
	}
	return slices.SortedStableFunc(slices.Values(in.Branches), less)
}

// files lists all files in load order.
func (l *Layout) files() []placed {
	out := make([]placed, 0, 2*len(l.projects))
	for _, p := range l.projects {
		if len(p.options.Classes) == 0 {
			continue
		}
		for _, b := range p.branches {
			if p.options.Trusted && b.Name != p.options.LoadBranch {
				continue
			}
			for _, f := range b.Files {
				pf := placed{File: f, project: p}
				pf.exact = []change.Pattern{{Regex: b.Name, Exact: true}}
				pf.implied = pf.impliedBranches()
				out = append(out, pf)
			}
			l.warnIgnored(p, b)
		}
	}
	return out
}

// warnIgnored tells of configuration that another place hides. It is no problem of a speculative layout: Zuul does not look
// for it there.
func (l *Layout) warnIgnored(p *project, b BranchInput) {
	told := &l.Problems
	if l.live != nil {
		told = &l.remarks
	}
	for _, path := range b.Ignored {
		*told = append(*told, config.Problem{Severity: config.Warning, Name: config.NameMultipleConfigs,
			Short: fmt.Sprintf("Configuration in %s is ignored, because the branch is already configured in %s", path, first(b.Files)),
		}.In(config.Source{Project: p.in.Project, Branch: b.Name, Path: path, Trusted: p.options.Trusted}))
	}
}

func first(files []*config.File) string {
	if len(files) == 0 {
		return "another place"
	}
	return files[0].Source.Path
}

// impliedBranches is the rule of implied branch matchers: the pragma, below it the tenant's setting;
// else none in config projects and in projects with a single branch.
func (f *placed) impliedBranches() []change.Pattern {
	own := f.exact
	if f.Pragma.ImpliedBranches.Set {
		own = f.Pragma.ImpliedBranches.Value
	}
	want := f.Pragma.ImpliedBranchMatchers
	if !want.Set {
		want = f.project.options.ImpliedBranchMatchers
	}
	switch {
	case want.Set && want.Value:
		return own
	case want.Set, f.project.options.Trusted, f.project.static == 1:
		return nil
	}
	return own
}

// fileProblems takes over what parsing found, except for objects that are not loaded, and tells
// projects that may not have pipelines.
func (l *Layout) fileProblems(files []placed) {
	for _, f := range files {
		concerns := func(p config.Problem) bool {
			return p.Object == "" || f.project.options.Loads(p.Object) || !slices.Contains(config.Kinds(), p.Object)
		}
		for _, p := range f.File.Problems() {
			if concerns(p) {
				l.Problems = append(l.Problems, p)
			}
		}
		for _, p := range f.File.Remarks() {
			if concerns(p) {
				l.remarks = append(l.remarks, p)
			}
		}
		if f.project.options.Trusted || f.project.options.NoPipelines {
			continue
		}
		for _, at := range f.PipelineSpans {
			l.report(f.File, "pipeline", "", at, config.NamePipelineForbidden,
				"Pipelines may not be defined in untrusted projects, only in config projects")
		}
	}
}

func (l *Layout) report(f *config.File, object, name string, at config.Span, kind, format string, args ...any) {
	l.Problems = append(l.Problems, f.Problem(object, name, at, kind, fmt.Sprintf(format, args...)))
}

// reportHint is report with what to do about it.
func (l *Layout) reportHint(f *config.File, object, name string, at config.Span, kind, hint, format string, args ...any) {
	p := f.Problem(object, name, at, kind, fmt.Sprintf(format, args...))
	if hint != "" {
		p.Hint = hint
		p = p.In(f.Source)
	}
	l.Problems = append(l.Problems, p)
}

// unique adds the definition of a name that may be defined once: again only on another branch of the
// same project, and equal.
func unique[T any](l *Layout, into map[string]*declared[T], kind string, f *placed, o *config.Object, decl *T, equal func(a, b *T) bool) bool {
	old, ok := into[o.Name]
	if !ok {
		into[o.Name] = &declared[T]{decl, f.File, f.project}
		return true
	}
	title := title(kind)
	switch {
	case old.origin != f.project:
		l.report(f.File, kind, o.Name, o.Span, config.NameDuplicateDefinition, "%s %s already defined in project %s",
			title, o.Name, old.origin.name)
	case old.file.Source.Branch == f.Source.Branch:
		l.report(f.File, kind, o.Name, o.Span, config.NameDuplicateDefinition, "%s %s already defined", title, o.Name)
	case !equal(old.decl, decl):
		l.report(f.File, kind, o.Name, o.Span, config.NameDuplicateDefinition,
			"%s %s does not match existing definition in branch %s", title, o.Name, old.file.Source.Branch)
	}
	return false
}

func title(kind string) string {
	if kind == "" {
		return ""
	}
	return string(kind[0]-'a'+'A') + kind[1:]
}

// identity is the hash of everything that a layout is made from.
func identity(in Input, live *Layout) string {
	h := sha256.New()
	t := *in.Tenant
	t.Object, t.Projects = config.Object{Name: t.Name}, nil // where it stands in the file does not count
	head, err := json.Marshal(struct {
		T *config.Tenant
		S map[string]int
	}{&t, in.GlobalSemaphores})
	if err != nil {
		panic("layout: a tenant is plain data: " + err.Error())
	}
	h.Write(head)
	if live != nil {
		fmt.Fprintf(h, "\x00live %s", live.ID)
	}
	buf := make([]byte, 0, 512)
	for i := range in.Projects {
		buf = in.Projects[i].appendIdentity(buf[:0])
		h.Write(buf)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (p *ProjectInput) appendIdentity(b []byte) []byte {
	b = appendStrings(b, "\x00project", p.Project.Canonical(), p.Project.Connection, p.DefaultBranch, p.MergeMode, p.Driver, p.Unreachable)
	b = appendStrings(b, p.MergeModes...)
	if p.ExcludeUnprotected {
		b = append(b, 'x')
	}
	if o := p.Options; o != nil {
		for _, list := range [][]string{o.Classes, o.Shadow, o.IncludeBranches, o.ExcludeBranches, o.AlwaysDynamic,
			o.ExtraConfigPaths, o.ConfigureProjects, {o.LoadBranch}} {
			b = append(appendStrings(b, list...), 1)
		}
		b = append(b, flags(o.Trusted, o.ImpliedBranchMatchers.Set, o.ImpliedBranchMatchers.Value, o.NoPipelines))
	}
	for _, br := range ordered(p) {
		b = appendStrings(b, "\x00branch", br.Name)
		for _, f := range br.Files {
			b = appendStrings(b, f.Source.Path, f.Hash)
		}
		b = appendStrings(b, br.Ignored...)
	}
	return b
}

func appendStrings(b []byte, list ...string) []byte {
	for _, s := range list {
		b = append(append(b, s...), 0)
	}
	return b
}

func flags(list ...bool) byte {
	var out byte = 2
	for _, f := range list {
		out <<= 1
		if f {
			out |= 1
		}
	}
	return out
}
