package pipeline

import (
	"fmt"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// plan is the pipeline of a story.
type plan struct {
	Manager                  string
	Jobs                     []planJob
	FailFast                 bool `yaml:"fail-fast"`
	Window, Floor, Ceiling   int
	Increase, Decrease       string
	Projects                 map[string]planProject
	Semaphores               map[string]int
	MaxParallel              int `yaml:"max-parallel"`
	Shadow, StepBack, Repair bool
	Canaries                 [][2]string
	View                     bool
	Dispatch                 string
	Lock                     string
	Ageing                   int
	MaxChanges               int `yaml:"max-changes"`
	MaxDependencies          int `yaml:"max-dependencies"`
	// Connections, where given, are the only ones whose changes may come in.
	Connections                 []string
	DisableAfter                int `yaml:"disable-after"`
	Supercedes                  []string
	Reporters                   []string
	KeepOldPatchsets            bool `yaml:"keep-old-patchsets"`
	Layout                      string
	Precedence                  string
	IgnoreDeps                  bool `yaml:"ignore-dependencies"`
	WantParentEnqueued, Removed bool
}

type planProject struct {
	Queue     string
	PerBranch bool `yaml:"per-branch"`
	Circular  bool
	Config    []string
	Out       bool // not in the pipeline
}

type planJob struct {
	Name         string
	Project      string
	Needs, Soft  []string
	Semaphores   []string
	Resources    []string
	First        bool `yaml:"resources-first"`
	Nodes        int
	Alternatives int
	Attempts     int
	Nonvoting    bool `yaml:"non-voting"`
	Hold         bool
	Provides     []string
	Requires     []string
	Repos        []string
}

// UnmarshalYAML takes a bare name for a job without attributes.
func (j *planJob) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		j.Name = n.Value
		return nil
	}
	type plain planJob
	return n.Decode((*plain)(j))
}

func (p *plan) settings() Settings {
	s := Settings{Name: "gate", Manager: Kind(p.Manager), AllowOtherConnections: len(p.Connections) == 0, Connections: p.Connections, DequeueOnNewPatchset: !p.KeepOldPatchsets,
		IgnoreDependencies: p.IgnoreDeps, Supercedes: p.Supercedes, MaxParallel: p.MaxParallel, DisableAfter: p.DisableAfter, Precedence: p.Precedence,
		Window: WindowSettings{Size: p.Window, Floor: p.Floor, Ceiling: p.Ceiling, IncreaseType: "linear", IncreaseFactor: 1,
			DecreaseType: "exponential", DecreaseFactor: 2},
		Messages: Messages{Success: "Build succeeded.", Failure: "Build failed."}, Reporters: map[Action][]Reporter{}}
	s.Shadow, s.StepBack, s.Dispatch = p.Shadow, p.StepBack, p.Dispatch
	s.Repair, s.Observe, s.Canaries = p.Repair, p.Repair, p.Canaries
	if p.View {
		s.View = &View{Host: "bridge01", Path: "/srv/views"}
	}
	if p.Lock != "" {
		s.Lock = &Lock{Name: p.Lock, Ageing: p.Ageing, Precedence: p.Precedence}
	}
	if p.Increase != "" {
		s.Window.IncreaseType, s.Window.IncreaseFactor = rate(p.Increase)
	}
	if p.Decrease != "" {
		s.Window.DecreaseType, s.Window.DecreaseFactor = rate(p.Decrease)
	}
	for _, a := range append([]string{"success", "failure", "merge-conflict", "config-error", "disabled"}, p.Reporters...) {
		s.Reporters[Action(a)] = []Reporter{{Connection: "gerrit", Driver: "gerrit", Merges: a == "success" && s.Manager == Dependent,
			Options: map[string]any{"reporter": a}}}
	}
	return s
}

// rate reads "exponential 2".
func rate(s string) (kind string, factor int) {
	_, _ = fmt.Sscan(s, &kind, &factor)
	return kind, factor
}

func (p *plan) tenant() Tenant {
	t := Tenant{Name: "t", Layout: p.Layout, WebRoot: "https://zuul.example.com/", MaxChanges: p.MaxChanges, MaxDependencies: p.MaxDependencies,
		WantParentEnqueued: p.WantParentEnqueued, Projects: map[string]Project{}, Semaphores: map[string]Semaphore{}}
	for n, x := range p.Projects {
		c := named(n)
		t.Projects[c.Canonical()] = Project{Project: c, InPipeline: !x.Out, Queue: x.Queue, PerBranch: x.PerBranch, AllowCircular: x.Circular,
			ConfigFiles: x.Config, MergeMode: "merge", DefaultBranch: "master"}
	}
	for n, m := range p.Semaphores {
		t.Semaphores[n] = Semaphore{Max: m}
	}
	for _, j := range p.Jobs {
		if len(j.Resources) > 0 {
			if t.Resources == nil {
				t.Resources = map[string][]string{}
			}
			t.Resources[j.Name] = j.Resources
		}
	}
	return t
}

func named(name string) change.Project {
	return change.Project{Connection: "gerrit", Host: "review.example.com", Name: name}
}

// graph freezes the jobs of an item: those of each of its changes' projects.
func (p *plan) graph(changes []*change.Change) *job.Graph {
	g := &job.Graph{FailFast: p.FailFast}
	id := func(name string, c *change.Change) job.ID {
		if len(changes) > 1 {
			name += "@" + c.Number
		}
		return job.ID(name)
	}
	for _, c := range changes {
		for _, x := range p.Jobs {
			if x.Project != "" && x.Project != c.Project.Name {
				continue
			}
			j := &job.Job{ID: id(x.Name, c), Name: x.Name, Refs: []change.Key{c.Key()}, Voting: !x.Nonvoting, HoldFollowingChanges: x.Hold,
				Attempts: max(x.Attempts, 1), Provides: x.Provides, Requires: x.Requires}
			for _, n := range x.Needs {
				j.Dependencies = append(j.Dependencies, job.Dependency{Job: id(n, c)})
			}
			for _, n := range x.Soft {
				j.Dependencies = append(j.Dependencies, job.Dependency{Job: id(n, c), Soft: true})
			}
			for _, n := range x.Semaphores {
				j.Semaphores = append(j.Semaphores, job.Semaphore{Name: n, ResourcesFirst: x.First})
			}
			for range x.Nodes {
				j.Nodeset.Nodes = append(j.Nodeset.Nodes, job.Node{Names: []string{"node"}, Label: "small"})
			}
			for range x.Alternatives {
				j.Alternatives = append(j.Alternatives, j.Nodeset)
			}
			for _, n := range x.Repos {
				g.Projects = append(g.Projects, named(n))
			}
			g.Jobs = append(g.Jobs, j)
		}
	}
	return g
}
