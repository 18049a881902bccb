package config

import (
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Object is what all declarations have: a name, a place, and the attributes that are written in it.
type Object struct {
	Name string
	Span Span
	// Attrs are the attributes in the order of the file.
	Attrs []Attr
}

// Attr is one written attribute.
type Attr struct {
	Name string
	Span Span
}

// At is the place of an attribute; of the whole object, where the attribute is not written.
func (o *Object) At(attr string) Span {
	for _, a := range o.Attrs {
		if a.Name == attr {
			return a.Span
		}
	}
	return o.Span
}

// Setting is an attribute that may be absent. Mode is what its tag asks for.
type Setting[T any] struct {
	Set   bool
	Mode  Mode
	Value T
}

// Or is the value, or def where it is absent.
func (s Setting[T]) Or(def T) T {
	if s.Set {
		return s.Value
	}
	return def
}

// Pragma changes how the other declarations of its file are read.
type Pragma struct {
	ImpliedBranchMatchers Setting[bool]
	ImpliedBranches       Setting[[]change.Pattern]
}

// Nodeset is a top-level or inline nodeset. Alternatives exclude nodes and groups.
type Nodeset struct {
	Object
	Nodes        []job.Node
	Groups       []job.Group
	Alternatives []NodesetUse
	// Labels are the places of the labels, in the order of Nodes.
	Labels []Span
}

// NodesetUse is a nodeset by name, or an inline one.
type NodesetUse struct {
	Name   string
	Inline *Nodeset
}

// Job is one definition or variant of a job, at the top level or in a project-pipeline.
type Job struct {
	Object
	// Parent with an empty value is an explicit null: a base job.
	Parent               Setting[string]
	Description          Setting[string]
	VariantDescription   Setting[string]
	Final                Setting[bool]
	Protected            Setting[bool]
	Abstract             Setting[bool]
	Intermediate         Setting[bool]
	Control              Setting[[]string] // attributes that attribute-control makes final
	SuccessMessage       Setting[string]
	FailureMessage       Setting[string]
	HoldFollowingChanges Setting[bool]
	Voting               Setting[bool]
	Semaphores           Setting[[]job.Semaphore]
	Tags                 Setting[[]string]
	Provides             Setting[[]string]
	Requires             Setting[[]string]
	Secrets              Setting[[]SecretUse]
	Nodeset              Setting[NodesetUse]
	OverrideCheckout     Setting[string]
	OverrideBranch       Setting[string]
	Timeout              Setting[int]
	PostTimeout          Setting[int]
	Attempts             Setting[int]
	PreRun               Setting[[]Playbook]
	Run                  Setting[[]Playbook]
	PostRun              Setting[[]Playbook]
	CleanupRun           Setting[[]Playbook]
	SplitStreams         Setting[bool]
	AnsibleVersion       Setting[string]
	Roles                Setting[[]Role]
	RequiredProjects     Setting[[]RequiredProject]
	Vars                 Setting[map[string]any]
	ExtraVars            Setting[map[string]any]
	HostVars             Setting[map[string]map[string]any]
	GroupVars            Setting[map[string]map[string]any]
	IncludeVars          Setting[[]IncludeVars]
	Dependencies         Setting[[]Dependency]
	AllowedProjects      Setting[[]string]
	PostReview           Setting[bool]
	Branches             Setting[[]change.Pattern]
	Files                Setting[[]change.Pattern]
	IrrelevantFiles      Setting[[]change.Pattern]
	MatchOnConfigUpdates Setting[bool]
	Deduplicate          Setting[string]
	FailureOutput        Setting[[]string]
	WorkspaceScheme      Setting[string]
	WorkspaceCheckout    Setting[string]
	ImageBuildName       Setting[string]
}

// SecretUse binds a secret to the playbooks of a definition under the name of a variable.
type SecretUse struct {
	Var          string
	Secret       string
	PassToParent bool
}

// Playbook is a playbook as a job names it.
type Playbook struct {
	Path       string
	Semaphores []string
	Cleanup    bool
}

// Role is a repository with roles, and the name its bare role gets (empty: derived from the project).
type Role struct {
	Project string
	Alias   string
}

// RequiredProject is an entry of required-projects.
type RequiredProject struct {
	Project          string
	OverrideCheckout string
	OverrideBranch   string
}

// IncludeVars is a file of variables. Project is empty where the job's own repository is meant. UseRef,
// the default, lets the ref of the item decide which branch is read.
type IncludeVars struct {
	Path        string
	Project     string
	ZuulProject bool
	UseRef      bool
	Required    bool
}

// Dependency is a job that another one waits for.
type Dependency struct {
	Name string
	Soft bool
}

// Project is a project stanza or, with Template set, a project-template. An empty name is the project
// that the file is in; one that begins with ^ is a regular expression.
type Project struct {
	Object
	Template      bool
	Templates     []string
	Branches      Setting[[]change.Pattern]
	DefaultBranch string
	MergeMode     string
	Queue         string
	Description   string
	Vars          map[string]any
	Pipelines     []ProjectPipeline
}

// Regular tells whether the name is a regular expression of projects.
func (p *Project) Regular() bool { return strings.HasPrefix(p.Name, "^") }

// Pipeline finds the section of a pipeline; nil where there is none.
func (p *Project) Pipeline(name string) *ProjectPipeline {
	for i := range p.Pipelines {
		if p.Pipelines[i].Pipeline == name {
			return &p.Pipelines[i]
		}
	}
	return nil
}

// ProjectPipeline is what a project or template says of one pipeline.
type ProjectPipeline struct {
	Pipeline string
	Span     Span
	Jobs     []*Job // a name only, or with attributes: a variant
	Debug    bool
	FailFast Setting[bool]
}

// Queue is a shared queue.
type Queue struct {
	Object
	PerBranch     bool
	AllowCircular bool
	ByTopic       bool
}

// Semaphore limits how many jobs run at once.
type Semaphore struct {
	Object
	Max int
}

// Secret is data with encrypted leaves (see job.EncryptedKey).
type Secret struct {
	Object
	Data map[string]any
}

// Pipeline is a pipeline with its filters made for the drivers of its connections.
type Pipeline struct {
	Object
	Settings pipeline.Settings
	// Triggers and Reporters are the mentions of connections, for the tenant's rules about them.
	Triggers  []ConnectionUse
	Reporters []ConnectionUse
}

// ConnectionUse is the mention of a connection.
type ConnectionUse struct {
	Connection string
	Span       Span
}

// Image, Flavor, Label, Section and Provider are the objects of the provider language. Extra holds
// what the driver of the section's connection understands.
type (
	// Image is a disk image that a job builds (zuul) or that a cloud has (cloud).
	Image struct {
		Object
		Type        string
		Description string
	}
	// Flavor is a size of machines.
	Flavor struct {
		Object
		Description string
	}
	// Label is an image on a flavor, for nodesets to ask for.
	Label struct {
		Object
		Image       string
		Flavor      string
		Description string
		MinReady    int
		MaxReadyAge int
	}
	// Section is a part of a provider that several of them share.
	Section struct {
		Object
		Parent     string
		Abstract   bool
		Connection string
		// Data is the whole section as written, without its name, parent and abstract.
		Data map[string]any
	}
	// Provider makes nodes.
	Provider struct {
		Object
		Section string
		// Data is the whole provider as written, without its name and section.
		Data map[string]any
	}
)

// Content is what a text declares, whatever file it is in.
type Content struct {
	// Hash is the SHA-256 of the text and of the options it was parsed with, in hex.
	Hash string

	Pragma Pragma
	// PipelineSpans are the places of all pipelines, the unreadable too: a project that may not have
	// any is told of each.
	PipelineSpans []Span
	Pipelines     []*Pipeline
	Nodesets      []*Nodeset
	Secrets       []*Secret
	Jobs          []*Job
	Semaphores    []*Semaphore
	Queues        []*Queue
	Templates     []*Project
	Projects      []*Project
	Images        []*Image
	Flavors       []*Flavor
	Labels        []*Label
	Sections      []*Section
	Providers     []*Provider

	problems, remarks []Problem
	lines             []string
}
