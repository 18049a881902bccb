package config

import (
	"path"
	"regexp"
	"slices"

	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Deployment is what a tenant says of how its deployments share what they deploy to. Zuul has nothing like it,
// so it stands in the tenant file and in no repository.
type Deployment struct {
	Object
	Locks     []*Lock
	Mutexes   []*Mutex
	Pipelines []*DeployPipeline
}

// Lock is one that buildsets of several pipelines share: one of them holds it, from its first job to its last.
type Lock struct {
	Object
	// Ageing is after how many seconds of waiting a buildset stands beside those of the next higher
	// precedence; 0: never.
	Ageing    int
	Pipelines []LockUse
}

// LockUse is a pipeline that shares a lock; empty precedence: the pipeline's own.
type LockUse struct {
	Pipeline, Precedence string
	Span                 Span
}

// Mutex is a named thing that only one of some jobs may work on at a time.
type Mutex struct {
	Object // its name is the resource
	Jobs   []string
}

// DeployPipeline is what one pipeline may do at once.
type DeployPipeline struct {
	Object
	// Dispatch is one of pipeline.Dispatch...; empty: the order of the configuration.
	Dispatch string
	// MaxParallel is how many jobs of a buildset may run at once; 0: any number.
	MaxParallel int
	Shadow      bool
	StepBack    bool
	// Observe: what the jobs' tasks do is written down.
	Observe bool
	// Canaries are the only pairs of jobs that run at once; none: all may.
	Canaries [][2]string
	// Repair: a job that read what another one wrote meanwhile runs once more.
	Repair bool
	// View is where sources are laid for the jobs; nil: nowhere.
	View *pipeline.View
}

var precedences = []string{"high", "normal", "low"}

func (r *reader) deployment(v *node) *Deployment {
	d := &Deployment{}
	d.header(v)
	read(r, d, v, attributes[Deployment]{
		"locks":     func(r *reader, d *Deployment, v *node) { d.Locks = objects(r, v, (*reader).lock) },
		"mutexes":   func(r *reader, d *Deployment, v *node) { d.Mutexes = objects(r, v, (*reader).mutex) },
		"pipelines": func(r *reader, d *Deployment, v *node) { d.Pipelines = objects(r, v, (*reader).deployPipeline) },
	}, nil)
	locked := map[string]string{}
	for _, l := range d.Locks {
		for _, u := range l.Pipelines {
			r.at = u.Span
			if other, twice := locked[u.Pipeline]; twice {
				r.fail(NameSyntax, "the pipeline %q takes the lock %q already; a pipeline has one lock", u.Pipeline, other)
			}
			locked[u.Pipeline] = l.Name
		}
	}
	return d
}

// objects reads a list of dictionaries.
func objects[T any](r *reader, v *node, one func(*reader, *node) *T) []*T {
	outer := r.at
	defer func() { r.at = outer }()
	var out []*T
	for _, i := range items(v) {
		if r.at = i.span; i.kind != kindMap {
			r.expected("a dictionary", i)
			continue
		}
		out = append(out, one(r, i))
	}
	return out
}

func (r *reader) lock(v *node) *Lock {
	l := &Lock{}
	l.header(v)
	read(r, l, v, attributes[Lock]{
		"name":   func(r *reader, l *Lock, v *node) { l.Name = r.str(v) },
		"ageing": func(r *reader, l *Lock, v *node) { l.Ageing = r.atLeast(v, 0) },
		"pipelines": func(r *reader, l *Lock, v *node) {
			for _, i := range items(v) {
				l.Pipelines = append(l.Pipelines, r.lockUse(i))
			}
		},
	}, nil)
	r.required(&l.Object, "name", "pipelines")
	return l
}

func (r *reader) lockUse(v *node) LockUse {
	u := LockUse{Span: v.span}
	if v.kind == kindString {
		u.Pipeline = v.text
		return u
	}
	o := Object{}
	o.header(v)
	read(r, &u, v, attributes[LockUse]{
		"name":       func(r *reader, u *LockUse, v *node) { u.Pipeline = r.str(v) },
		"precedence": func(r *reader, u *LockUse, v *node) { u.Precedence = r.oneOf(v, precedences...) },
	}, nil)
	r.required(&o, "name")
	return u
}

func (r *reader) mutex(v *node) *Mutex {
	m := &Mutex{}
	m.header(v)
	read(r, m, v, attributes[Mutex]{
		"resource": func(r *reader, m *Mutex, v *node) { m.Name = r.str(v) },
		"jobs":     func(r *reader, m *Mutex, v *node) { m.Jobs = r.strs(v) },
	}, nil)
	r.required(&m.Object, "resource", "jobs")
	return m
}

func (r *reader) deployPipeline(v *node) *DeployPipeline {
	p := &DeployPipeline{}
	p.header(v)
	read(r, p, v, attributes[DeployPipeline]{
		"name": func(r *reader, p *DeployPipeline, v *node) { p.Name = r.str(v) },
		"dispatch": func(r *reader, p *DeployPipeline, v *node) {
			p.Dispatch = r.oneOf(v, pipeline.DispatchConfigOrder, pipeline.DispatchLongestPath)
		},
		"max-parallel": func(r *reader, p *DeployPipeline, v *node) { p.MaxParallel = r.atLeast(v, 1) },
		"shadow":       func(r *reader, p *DeployPipeline, v *node) { p.Shadow = r.boolean(v) },
		"step-back":    func(r *reader, p *DeployPipeline, v *node) { p.StepBack = r.boolean(v) },
		"observe":      func(r *reader, p *DeployPipeline, v *node) { p.Observe = r.boolean(v) },
		"canary-pairs": func(r *reader, p *DeployPipeline, v *node) { p.Canaries = r.pairs(v) },
		"repair":       func(r *reader, p *DeployPipeline, v *node) { p.Repair = r.boolean(v) },
		"view":         func(r *reader, p *DeployPipeline, v *node) { p.View = r.view(v) },
	}, nil)
	r.required(&p.Object, "name")
	if p.Shadow && p.MaxParallel == 0 {
		r.at = p.At("shadow")
		r.fail(NameSyntax, "shadow tells what max-parallel would allow: name max-parallel, too")
	}
	if p.Shadow && len(p.Canaries) > 0 {
		r.at = p.At("canary-pairs")
		r.fail(NameSyntax, "in shadow no jobs run at once: leave either shadow or canary-pairs out")
	}
	if p.Repair && !p.Observe {
		r.at = p.At("repair")
		r.fail(NameSyntax, "repair needs to know what jobs read and write: add observe: true")
	}
	return p
}

// pairs reads which jobs may run at once.
func (r *reader) pairs(v *node) (out [][2]string) {
	outer := r.at
	defer func() { r.at = outer }()
	if v.kind != kindList {
		r.expected("a list of pairs of jobs", v)
		return nil
	}
	for _, i := range items(v) {
		r.at = i.span
		names := r.strs(i)
		if i.kind != kindList || len(names) != 2 || names[0] == names[1] {
			r.fail(NameSyntax, "expected a pair of different jobs, like [service-etherpad, service-paste]")
			continue
		}
		out = append(out, [2]string{names[0], names[1]})
	}
	return out
}

// view reads where sources are laid. A folder at the top of a host's file system has other things in it.
func (r *reader) view(v *node) *pipeline.View {
	w := &pipeline.View{}
	o := Object{}
	o.header(v)
	read(r, w, v, attributes[pipeline.View]{
		"host": func(r *reader, w *pipeline.View, v *node) { w.Host = r.str(v) },
		"path": func(r *reader, w *pipeline.View, v *node) {
			if w.Path = r.str(v); path.Clean(w.Path) != w.Path || !path.IsAbs(w.Path) || path.Dir(w.Path) == "/" || unquotable.MatchString(w.Path) {
				r.at = v.span
				r.fail(NameSyntax, "%q cannot be the folder of views: name one of its own, below another one, like /srv/views", w.Path)
			}
		},
	}, nil)
	r.required(&o, "host", "path")
	return w
}

// unquotable are what no path of a view has: it becomes part of commands and of a line of authorized_keys.
var unquotable = regexp.MustCompile(`[^\w./+@:-]`)

// Apply puts what the tenant says of a pipeline into its settings; nil says nothing.
func (d *Deployment) Apply(s *pipeline.Settings) {
	if d == nil {
		return
	}
	for _, p := range d.Pipelines {
		if p.Name == s.Name {
			s.Dispatch, s.MaxParallel, s.Shadow, s.StepBack, s.Observe = p.Dispatch, p.MaxParallel, p.Shadow, p.StepBack, p.Observe
			s.Canaries, s.Repair, s.View = p.Canaries, p.Repair, p.View
		}
	}
	for _, l := range d.Locks {
		i := slices.IndexFunc(l.Pipelines, func(u LockUse) bool { return u.Pipeline == s.Name })
		if i < 0 {
			continue
		}
		s.Lock = &pipeline.Lock{Name: l.Name, Ageing: l.Ageing, Precedence: l.Pipelines[i].Precedence}
		if s.Lock.Precedence == "" {
			s.Lock.Precedence = s.Precedence
		}
	}
}

// Resources are the mutexes of each job, by its name.
func (d *Deployment) Resources() map[string][]string {
	if d == nil {
		return nil
	}
	out := map[string][]string{}
	for _, m := range d.Mutexes {
		for _, j := range m.Jobs {
			if !slices.Contains(out[j], m.Name) {
				out[j] = append(out[j], m.Name)
			}
		}
	}
	return out
}

// placeless is a copy without places in the file.
func (d *Deployment) placeless() *Deployment {
	if d == nil {
		return nil
	}
	out := &Deployment{}
	for _, l := range d.Locks {
		c := &Lock{Object: Object{Name: l.Name}, Ageing: l.Ageing}
		for _, u := range l.Pipelines {
			u.Span = Span{}
			c.Pipelines = append(c.Pipelines, u)
		}
		out.Locks = append(out.Locks, c)
	}
	for _, m := range d.Mutexes {
		out.Mutexes = append(out.Mutexes, &Mutex{Object: Object{Name: m.Name}, Jobs: m.Jobs})
	}
	for _, p := range d.Pipelines {
		c := *p
		c.Object = Object{Name: p.Name}
		out.Pipelines = append(out.Pipelines, &c)
	}
	return out
}
