package pipeline

import (
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
)

// Kind is one of the four pipeline managers.
type Kind string

// The managers of Zuul, semantics 2.4.
const (
	Independent Kind = "independent"
	Dependent   Kind = "dependent"
	Serial      Kind = "serial"
	Supercedent Kind = "supercedent"
)

// Settings is a pipeline as the merged configuration declares it. It is never speculative.
type Settings struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Manager     Kind   `json:"manager"`
	PostReview  bool   `json:"post_review,omitempty"`
	// AllowOtherConnections (default true): changes of connections that the pipeline does not name
	// may enter.
	AllowOtherConnections bool     `json:"allow_other_connections"`
	DequeueOnNewPatchset  bool     `json:"dequeue_on_new_patchset"`
	IgnoreDependencies    bool     `json:"ignore_dependencies,omitempty"`
	Supercedes            []string `json:"supercedes,omitempty"`
	// Precedence is high, normal or low; Priority gives the number.
	Precedence string `json:"precedence,omitempty"`

	Triggers     []event.Filter        `json:"triggers,omitempty"`
	Requirements []change.Filter       `json:"requirements,omitempty"`
	Reporters    map[Action][]Reporter `json:"reporters,omitempty"`
	Messages     Messages              `json:"messages"`
	DisableAfter int                   `json:"disable_after,omitempty"`
	Window       WindowSettings        `json:"window"`
	// Dispatch is the order in which ready jobs of a buildset go: config-order (the default) or
	// longest-path (by the longest remaining path, as State.Estimates tell).
	Dispatch string `json:"dispatch,omitempty"`
	// MaxParallel bounds the jobs of one buildset that run or hold nodes at once; 0 is no bound. With Shadow
	// they run one at a time all the same, and it is only told which would have run at once. With StepBack a job
	// that fails while others of its buildset run lowers the bound.
	MaxParallel int  `json:"max_parallel,omitempty"`
	Shadow      bool `json:"shadow,omitempty"`
	StepBack    bool `json:"step_back,omitempty"`
	// Canaries, where there are any, are the only pairs of jobs, by name, that run at once.
	Canaries [][2]string `json:"canaries,omitempty"`
	// Repair: a job that read what another one wrote meanwhile runs once more. It needs Observe.
	Repair bool `json:"repair,omitempty"`
	// Observe: executors write down what tasks do to which resources.
	Observe bool `json:"observe,omitempty"`
	// View is where each buildset's sources are laid for its jobs; nil: nowhere.
	View *View `json:"view,omitempty"`
	// Lock is what a buildset must hold to run jobs; nil where there is none.
	Lock *Lock `json:"lock,omitempty"`
	// Connections are all that the pipeline names: in triggers, requirements and reporters.
	Connections []string `json:"connections,omitempty"`
}

// Priority is the base priority of node requests: high 100, normal 200, low 300; smaller goes first.
func (s *Settings) Priority() int {
	switch s.Precedence {
	case "high":
		return 100
	case "low":
		return 300
	}
	return 200
}

// Lock is shared by buildsets of several pipelines of a tenant: one of them holds it from its first job to its
// last. The waiting one of the highest precedence goes next; among equals the one that waits longest.
type Lock struct {
	Name       string `json:"name"`
	Precedence string `json:"precedence,omitempty"`
	// Ageing in seconds of waiting makes up for one step of precedence; 0: waiting never does.
	Ageing int `json:"ageing,omitempty"`
}

// View lays the sources of a buildset on a host, once, for all of its jobs.
type View struct {
	// Host is the name that jobs' nodesets give the node, or its label; Path is an absolute folder there, below which
	// each buildset has a folder of its own.
	Host string `json:"host"`
	Path string `json:"path"`
}

// WindowSettings bound how many items at the front of a queue are worked on.
type WindowSettings struct {
	// Size 0 is no bound. Ceiling 0 is none.
	Size, Floor, Ceiling int
	// IncreaseType and DecreaseType are linear or exponential.
	IncreaseType, DecreaseType     string
	IncreaseFactor, DecreaseFactor int
}

// Messages are the texts with which reports begin; empty where the pipeline wants none. Defaults are
// filled in by layout.
type Messages struct {
	Success, Failure, Start, Enqueue, MergeConflict, NoJobs, Dequeue, Footer string
}

// Action names a point at which a pipeline reports.
type Action string

// The actions that a pipeline may have reporters for.
const (
	ReportEnqueue       Action = "enqueue"
	ReportStart         Action = "start"
	ReportSuccess       Action = "success"
	ReportFailure       Action = "failure"
	ReportMergeConflict Action = "merge-conflict"
	ReportConfigError   Action = "config-error"
	ReportNoJobs        Action = "no-jobs"
	ReportDisabled      Action = "disabled"
	ReportDequeue       Action = "dequeue"
)

// Reporter is one reporter of one action: a connection with the options that YAML gave it.
type Reporter struct {
	Connection string         `json:"connection"`
	Driver     string         `json:"driver"`
	Options    map[string]any `json:"options,omitempty"`
	// Labels are the votes that the reporter gives, so that a change that only lacks those can merge.
	Labels []string `json:"labels,omitempty"`
	// Merges: the reporter merges the change (submit at Gerrit, merge at others).
	Merges bool `json:"merges,omitempty"`
}

// Tenant is what the core must know of the merged layout beside the pipeline itself.
type Tenant struct {
	Name string `json:"name"`
	// Layout identifies the merged layout.
	Layout string `json:"layout"`
	// Projects by canonical name: all projects of the tenant.
	Projects map[string]Project `json:"projects,omitempty"`
	// Semaphores by name; a name that is not here has a maximum of 1.
	Semaphores map[string]Semaphore `json:"semaphores,omitempty"`
	// MaxChanges bounds the changes in the pipeline, MaxDependencies the nodes of a dependency graph;
	// 0 is no bound.
	MaxChanges      int `json:"max_changes,omitempty"`
	MaxDependencies int `json:"max_dependencies,omitempty"`
	// WebRoot is where links in reports lead, with a slash at the end.
	WebRoot string `json:"web_root,omitempty"`
	// Resources are what each job, by name, must have for itself while it runs, beside its semaphores.
	Resources map[string][]string `json:"resources,omitempty"`
	// Parents tells whether some pipeline is triggered by parent-change-enqueued of this pipeline, and
	// Merged whether one is by project-change-merged: then the core emits those events.
	WantParentEnqueued bool `json:"want_parent_enqueued,omitempty"`
	WantMerged         bool `json:"want_merged,omitempty"`
}

// Project is what the merged layout says of one project, as far as queues and merges need it.
type Project struct {
	Project change.Project `json:"project"`
	// Trusted: a config project.
	Trusted bool `json:"trusted,omitempty"`
	// InPipeline: some stanza of the project names this pipeline in the merged layout.
	InPipeline bool `json:"in_pipeline,omitempty"`
	// Queue is the name of its shared queue; empty: a queue of its own, named after the project.
	Queue string `json:"queue,omitempty"`
	// PerBranch, AllowCircular and ByTopic are the queue's attributes.
	PerBranch     bool   `json:"per_branch,omitempty"`
	AllowCircular bool   `json:"allow_circular,omitempty"`
	ByTopic       bool   `json:"by_topic,omitempty"`
	MergeMode     string `json:"merge_mode"`
	DefaultBranch string `json:"default_branch"`
	// ConfigFiles are the paths (a slash at the end: directories) whose change alters the
	// configuration; empty where no configuration is read from the project.
	ConfigFiles []string `json:"config_files,omitempty"`
	// AlwaysDynamic are branches on which every change is taken for one of the configuration.
	AlwaysDynamic []change.Pattern `json:"always_dynamic,omitempty"`
	// ExcludeUnprotected: unprotected branches are hidden from the repository state of jobs.
	ExcludeUnprotected bool `json:"exclude_unprotected,omitempty"`
}

// Semaphore is a semaphore's definition in the merged layout. Global: it is shared between tenants.
type Semaphore struct {
	Max    int  `json:"max"`
	Global bool `json:"global,omitempty"`
}
