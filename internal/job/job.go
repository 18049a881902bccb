// Package job is the vocabulary of what a pipeline runs for a change: frozen jobs with every
// attribute settled, their playbooks, nodesets and dependencies, and the graph of one buildset. How
// the declarations of many files become a frozen job is the business of layout; what happens to a
// job when it runs, that of pipeline and executor. It is plain data.
package job

import (
	"time"

	"github.com/gozer-ci/gozer/internal/change"
)

// ID names a frozen job within its graph. It is the job's name where the name is unique in the graph,
// else name and change, and stays the same when the same item is frozen again.
type ID string

// Job is a frozen job: what the declarations, variants and project-pipeline variants of a name come
// to for the changes of one item.
type Job struct {
	ID   ID     `json:"id"`
	Name string `json:"name"`
	// Refs are the keys of the item's changes that this job runs for: one, or several when equal jobs
	// of a cycle's changes were deduplicated. The first is the one whose project the job belongs to.
	Refs []change.Key `json:"refs"`
	// Path tells how it was frozen, base first: which definition, where.
	Path []Definition `json:"path,omitempty"`
	// Hash covers all attributes that count when asking "is this job another one than before?".
	Hash string `json:"hash,omitempty"`

	Description          string `json:"description,omitempty"`
	Voting               bool   `json:"voting"`
	HoldFollowingChanges bool   `json:"hold_following_changes,omitempty"`
	SuccessMessage       string `json:"success_message,omitempty"`
	FailureMessage       string `json:"failure_message,omitempty"`
	PostReview           bool   `json:"post_review,omitempty"`

	Tags     []string `json:"tags,omitempty"`
	Provides []string `json:"provides,omitempty"`
	Requires []string `json:"requires,omitempty"`
	// Dependencies are edges of the graph, by ID, already resolved.
	Dependencies []Dependency `json:"dependencies,omitempty"`
	Semaphores   []Semaphore  `json:"semaphores,omitempty"`

	Nodeset Nodeset `json:"nodeset"`
	// Alternatives are tried in order where the job has several nodesets; empty where it has one.
	Alternatives []Nodeset `json:"alternatives,omitempty"`

	// Timeout bounds pre-run and run together, PostTimeout each post playbook; 0 is no bound.
	Timeout     time.Duration `json:"timeout,omitempty"`
	PostTimeout time.Duration `json:"post_timeout,omitempty"`
	Attempts    int           `json:"attempts"`

	PreRun  []Playbook `json:"pre_run,omitempty"`
	Run     []Playbook `json:"run,omitempty"`
	PostRun []Playbook `json:"post_run,omitempty"`

	Vars      map[string]any            `json:"vars,omitempty"`
	ExtraVars map[string]any            `json:"extra_vars,omitempty"`
	HostVars  map[string]map[string]any `json:"host_vars,omitempty"`
	GroupVars map[string]map[string]any `json:"group_vars,omitempty"`
	// IncludeVars are files read from repositories when the build starts.
	IncludeVars []IncludeVars `json:"include_vars,omitempty"`

	RequiredProjects []RequiredProject `json:"required_projects,omitempty"`
	OverrideCheckout string            `json:"override_checkout,omitempty"`
	OverrideBranch   string            `json:"override_branch,omitempty"`

	AnsibleVersion      string   `json:"ansible_version,omitempty"`
	AnsibleSplitStreams bool     `json:"ansible_split_streams,omitempty"`
	FailureOutput       []string `json:"failure_output,omitempty"`
	// WorkspaceScheme is golang, flat or unique. WorkspaceCheckout: "true", "false" or "auto".
	WorkspaceScheme   string `json:"workspace_scheme,omitempty"`
	WorkspaceCheckout string `json:"workspace_checkout,omitempty"`
	ImageBuildName    string `json:"image_build_name,omitempty"`
	// Deduplicate is "true", "false" or "auto".
	Deduplicate string `json:"deduplicate,omitempty"`
}

// Noop is the built-in job that always succeeds and never reaches an executor.
const Noop = "noop"

// Definition is one declaration that took part in a frozen job.
type Definition struct {
	Source Source `json:"source"`
	// Job is the name that the declaration has; Line, where it stands (1-based).
	Job  string `json:"job"`
	Line int    `json:"line,omitempty"`
	// Set lists the attributes that it set, so that people can see where a value comes from.
	Set []string `json:"set,omitempty"`
}

// Source is where a declaration or a playbook comes from.
type Source struct {
	Project change.Project `json:"project"`
	Branch  string         `json:"branch"`
	Path    string         `json:"path,omitempty"`
	// Trusted: it comes from a config project, so only its merged state is used.
	Trusted bool `json:"trusted,omitempty"`
}

// Dependency is an edge to a job that must be done first.
type Dependency struct {
	Job  ID   `json:"job"`
	Soft bool `json:"soft,omitempty"`
}

// Semaphore is one that the job holds while it runs. ResourcesFirst: nodes are requested before it is
// acquired.
type Semaphore struct {
	Name           string `json:"name"`
	ResourcesFirst bool   `json:"resources_first,omitempty"`
}

// Nodeset is the nodes a job asks for. No nodes: it runs on the executor only.
type Nodeset struct {
	Name   string  `json:"name,omitempty"`
	Nodes  []Node  `json:"nodes,omitempty"`
	Groups []Group `json:"groups,omitempty"`
}

// Node is one machine: the inventory names that it has, and the label it is made from.
type Node struct {
	Names []string `json:"names"`
	Label string   `json:"label"`
}

// Group is an inventory group over node names.
type Group struct {
	Name  string   `json:"name"`
	Nodes []string `json:"nodes"`
}

// Playbook is one playbook of a job with everything that its definition gave it.
type Playbook struct {
	Source Source `json:"source"`
	// Path is relative to the repository.
	Path string `json:"path"`
	// Roles are the repositories whose roles it sees, in search order.
	Roles []Role `json:"roles,omitempty"`
	// Secrets are still encrypted; Owner names the project whose key opens them.
	Secrets    []Secret `json:"secrets,omitempty"`
	Semaphores []string `json:"semaphores,omitempty"`
	// Cleanup: a post playbook that runs even after an abort and whose result does not count.
	Cleanup bool `json:"cleanup,omitempty"`
	// LegacyCleanup: it was a cleanup-run playbook (its failure is ignored).
	LegacyCleanup bool `json:"legacy_cleanup,omitempty"`
	// Level is how many definitions were applied before the one that brought it: base is 0.
	Level int `json:"level"`
}

// Role is a repository with roles.
type Role struct {
	Project change.Project `json:"project"`
	// Name is the name by which a bare role is found (target_name).
	Name string `json:"name"`
	// Implicit: it is the playbook's own repository, and need not have roles.
	Implicit bool `json:"implicit,omitempty"`
}

// Secret is an encrypted secret bound to a playbook under a variable name.
type Secret struct {
	Var   string         `json:"var"`
	Name  string         `json:"name"`
	Owner change.Project `json:"owner"`
	// Data holds plain YAML values; encrypted leaves are Encrypted.
	Data any `json:"data"`
}

// EncryptedKey is the one key of the mapping that stands for an encrypted leaf in Secret.Data:
// {"!encrypted/pkcs1-oaep": [base64 chunks]}.
const EncryptedKey = "!encrypted/pkcs1-oaep"

// IncludeVars is a file of variables in a repository.
type IncludeVars struct {
	// Project is the repository; UseRef: the item's ref counts when its branch is chosen (the
	// zuul-project form of the attribute: the project of the item).
	Project     change.Project `json:"project,omitzero"`
	ZuulProject bool           `json:"zuul_project,omitempty"`
	UseRef      bool           `json:"use_ref,omitempty"`
	Path        string         `json:"path"`
	Required    bool           `json:"required"`
}

// RequiredProject is a repository that the job wants in its workspace.
type RequiredProject struct {
	Project          change.Project `json:"project"`
	OverrideCheckout string         `json:"override_checkout,omitempty"`
	OverrideBranch   string         `json:"override_branch,omitempty"`
}
