package pipeline

import (
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/job"
)

// Effect is something to be done because of a step. The set is sealed: it is what is in this file.
// Each is keyed by ids, so that carrying it out twice is harmless.
type Effect interface{ effect() }

// Merge asks a merger to merge the changes of the item onto those of the items ahead, and to read
// files. Its outcome is Merged.
type Merge struct {
	Item     ItemID     `json:"item"`
	Buildset BuildsetID `json:"buildset"`
	// Operations in order, oldest item first.
	Operations []*MergeOp `json:"operations"`
	// Time is what the commits carry.
	Time time.Time `json:"time"`
	// Files asks for the changed files of these changes.
	Files []change.Key `json:"files,omitempty"`
	// Config asks for the configuration files, after the merge, of these projects.
	Config []ConfigPaths `json:"config,omitempty"`
	// Refs: the item is about refs, not changes: nothing is merged, only state is read.
	Refs bool `json:"refs,omitempty"`
	// Checkouts are other branches or tags whose state must be recorded (override-checkout).
	Priority int `json:"priority"`
}

// MergeOp is one change to merge.
type MergeOp struct {
	Key     change.Key     `json:"key"`
	Item    ItemID         `json:"item"`
	Project change.Project `json:"project"`
	Branch  string         `json:"branch"`
	Ref     string         `json:"ref"`
	Commit  string         `json:"commit,omitempty"`
	Mode    string         `json:"mode"`
	// Time is what the commit of this operation carries: that of the item's buildset, so that every merge
	// of the item on the same base has the same commit id, whichever request made it.
	Time time.Time `json:"time"`
	// Number, Patchset and Message go into the merge commit.
	Number   string `json:"number,omitempty"`
	Patchset string `json:"patchset,omitempty"`
	Message  string `json:"message,omitempty"`
	NewRev   string `json:"new_rev,omitempty"`
	OldRev   string `json:"old_rev,omitempty"`
}

// ConfigPaths says which files of a project are configuration.
type ConfigPaths struct {
	Project change.Project `json:"project"`
	Paths   []string       `json:"paths"`
}

// Configure asks for the layout that counts for the item, and its frozen job graph. Outcome:
// Configured.
type Configure struct {
	Item     ItemID           `json:"item"`
	Buildset BuildsetID       `json:"buildset"`
	Changes  []*change.Change `json:"changes"`
	// Ahead is the layout of the item ahead, or the tenant's.
	Ahead string `json:"ahead"`
	// Updates are the changes of the item and of those ahead that alter configuration (empty: the
	// layout is Ahead). Config is the blob with the files after the merge.
	Updates []change.Key `json:"updates,omitempty"`
	Config  string       `json:"config,omitempty"`
	// Own: the item's own changes are among Updates.
	Own bool `json:"own,omitempty"`
	// AllUpdates lists the changes of Updates in full.
	AllUpdates []*change.Change `json:"all_updates,omitempty"`
	// Trigger is the change that caused the item, for deduplication.
	Trigger event.Ref `json:"trigger"`
	// Containing are the branches that contain a tag's commit.
	Containing []string `json:"containing,omitempty"`
}

// RepoState asks for the refs of further projects, to be added to the item's repository state.
// Outcome: RepoStated.
type RepoState struct {
	Item     ItemID           `json:"item"`
	Buildset BuildsetID       `json:"buildset"`
	Projects []change.Project `json:"projects"`
	Have     string           `json:"have,omitempty"`
	Priority int              `json:"priority"`
}

// RequestNodes asks for nodes. Outcome: NodesReady.
type RequestNodes struct {
	Item     ItemID      `json:"item"`
	Buildset BuildsetID  `json:"buildset"`
	Job      job.ID      `json:"job"`
	JobName  string      `json:"job_name"`
	Request  string      `json:"request"`
	Nodeset  job.Nodeset `json:"nodeset"`
	// Priority: smaller first; Relative orders requests of one priority. Provider pins the request.
	Priority int    `json:"priority"`
	Relative int    `json:"relative"`
	Provider string `json:"provider,omitempty"`
	// Project that asks, for quotas and people.
	Project string `json:"project"`
}

// Reprioritize changes the relative priority of an outstanding request.
type Reprioritize struct {
	Request  string `json:"request"`
	Relative int    `json:"relative"`
}

// ReturnNodes gives up a request: outstanding, it is withdrawn; fulfilled, its unused nodes go back.
type ReturnNodes struct {
	Request string   `json:"request"`
	Nodes   []string `json:"nodes,omitempty"`
}

// Start asks an executor to run a build. News about it: BuildStarted, BuildPaused, BuildFailing,
// BuildEnded.
type Start struct {
	Item     ItemID     `json:"item"`
	Buildset BuildsetID `json:"buildset"`
	Build    BuildID    `json:"build"`
	Attempt  int        `json:"attempt"`
	// Job is the frozen job; Graph edges that its variables tell of come with it.
	Job       *job.Job `json:"job"`
	ChildJobs []string `json:"child_jobs,omitempty"`
	// Changes are those of the items ahead, oldest first, and the item's own; Own are the item's,
	// Refs the build's.
	Changes []*change.Change `json:"changes"`
	Own     []change.Key     `json:"own"`
	Refs    []change.Key     `json:"refs"`
	// Observe asks for a record of what tasks do to which resources.
	Observe bool `json:"observe,omitempty"`
	// View is where the buildset's sources are laid before the first job that has the host.
	View *View `json:"view,omitempty"`
	// Merge is the item's speculative state; Operations how it was made.
	Merge      *MergeResult `json:"merge"`
	Operations []*MergeOp   `json:"operations,omitempty"`
	Time       time.Time    `json:"time"`
	Nodeset    job.Nodeset  `json:"nodeset"`
	Nodes      []string     `json:"nodes,omitempty"`
	Request    string       `json:"request,omitempty"`
	Artifacts  []Artifact   `json:"artifacts,omitempty"`
	// ParentData is what the jobs that this one depends on returned, merged; SecretData names their
	// sealed blobs, in the order in which they count.
	ParentData map[string]any `json:"parent_data,omitempty"`
	SecretData []string       `json:"secret_data,omitempty"`
	Event      event.Ref      `json:"event"`
	Layout     string         `json:"layout"`
	PostReview bool           `json:"post_review,omitempty"`
	Priority   int            `json:"priority"`
	// Semaphores are the definitions of those that the job's playbooks hold while they run; the executor
	// acquires them. One that nobody defined is not here.
	Semaphores map[string]Semaphore `json:"semaphores,omitempty"`
}

// Cancel stops a build, wherever it is. Outcome: BuildEnded, as always; the build's nodes are given back
// only then.
type Cancel struct {
	Build BuildID `json:"build"`
}

// Resume lets a paused build go on to its post-run playbooks.
type Resume struct {
	Build BuildID `json:"build"`
}

// DropView removes what was laid of a buildset's sources on hosts: none of its builds runs any more, and none
// will. No outcome.
type DropView struct {
	Buildset BuildsetID `json:"buildset"`
}

// FindHazards asks what jobs that ran at the same time read of each other. Outcome: HazardsFound.
type FindHazards struct {
	Item     ItemID     `json:"item"`
	Buildset BuildsetID `json:"buildset"`
	Token    string     `json:"token"`
	// Builds of the jobs, and which of the jobs ran at the same time.
	Builds map[job.ID]BuildID `json:"builds"`
	Pairs  [][2]job.ID        `json:"pairs"`
}

// Report asks a reporter to tell the forges. Where Merge is set, the outcome is Reported.
type Report struct {
	ID       string     `json:"id"`
	Item     ItemID     `json:"item"`
	Buildset BuildsetID `json:"buildset"`
	Action   Action     `json:"action"`
	// Changes are reported one by one: each connection gets what concerns its changes.
	Changes   []*change.Change    `json:"changes"`
	Reporters []Reporter          `json:"reporters"`
	Messages  map[change.Key]Text `json:"messages"`
	// Merge: after all comments, the changes are to be merged, in this order, by the reporters that
	// merge; Reported then says of each change whether it is on its branch.
	Merge bool `json:"merge,omitempty"`
	// Commits are the tested merges, by change; Operations, how they were made, so that they can be made again
	// where they are not.
	Commits    []Commit              `json:"commits,omitempty"`
	Operations []*MergeOp            `json:"operations,omitempty"`
	Modes      map[change.Key]string `json:"modes,omitempty"`
	URL        string                `json:"url,omitempty"`
	Event      event.Ref             `json:"event"`
	Result     Result                `json:"result,omitempty"`
	Start      time.Time             `json:"start,omitzero"`
}

// Text is one report's text for one change.
type Text struct {
	Message      string               `json:"message"`
	FileComments []change.FileComment `json:"file_comments,omitempty"`
}

// Record writes history: what a buildset or a build has come to.
type Record struct {
	Buildset *BuildsetRecord `json:"buildset,omitempty"`
	Build    *BuildRecord    `json:"build,omitempty"`
}

// BuildsetRecord is a row of history about a buildset.
type BuildsetRecord struct {
	ID       BuildsetID       `json:"id"`
	Tenant   string           `json:"tenant"`
	Pipeline string           `json:"pipeline"`
	Refs     []*change.Change `json:"refs"`
	Result   Result           `json:"result,omitempty"`
	Message  string           `json:"message,omitempty"`
	Event    event.Ref        `json:"event"`
	First    time.Time        `json:"first_build_start,omitzero"`
	Last     time.Time        `json:"last_build_end,omitzero"`
	At       time.Time        `json:"at"`
}

// BuildRecord is a row of history about a build that ended.
type BuildRecord struct {
	Buildset BuildsetID `json:"buildset"`
	Build    Build      `json:"build"`
	JobName  string     `json:"job_name"`
	Ref      change.Key `json:"ref"`
	Voting   bool       `json:"voting"`
	// Final: not a retry that was repeated.
	Final    bool     `json:"final"`
	Nodeset  string   `json:"nodeset,omitempty"`
	Provides []string `json:"provides,omitempty"`
	// Job, Dependencies and Semaphores are the job's place in its graph.
	Job          job.ID           `json:"job"`
	Dependencies []job.Dependency `json:"dependencies,omitempty"`
	Semaphores   []string         `json:"semaphores,omitempty"`
	// Queued is when the job could have run but for what it waited for; Waited sums up why.
	Queued time.Time `json:"queued,omitzero"`
	Waited string    `json:"waited,omitempty"`
}

// Refetch asks the forges about changes again. Outcome: Refresh with the same Token.
type Refetch struct {
	Keys  []change.Key `json:"keys"`
	Token string       `json:"token"`
}

// Requeue asks for changes to be enqueued anew in this pipeline, as if their event had come again.
// Outcome: an Enqueue for each.
type Requeue struct {
	Keys  []change.Key `json:"keys"`
	Event event.Ref    `json:"event"`
	Force bool         `json:"force,omitempty"`
}

// FindArtifacts asks history what earlier buildsets of these changes provided. Outcome: Provided.
type FindArtifacts struct {
	Item     ItemID           `json:"item"`
	Buildset BuildsetID       `json:"buildset"`
	Job      job.ID           `json:"job"`
	Token    string           `json:"token"`
	Changes  []*change.Change `json:"changes"`
	Names    []string         `json:"names"`
}

// FindEstimates asks history how long the jobs of this pipeline take. Outcome: Estimated.
type FindEstimates struct {
	Token string `json:"token"`
}

// Emit tells the tenant something that pipelines may be triggered by: parent-change-enqueued,
// project-change-merged.
type Emit struct {
	Event event.Event `json:"event"`
}

// Supersede tells other pipelines that this one now has the change.
type Supersede struct {
	Pipelines []string   `json:"pipelines"`
	Key       change.Key `json:"key"`
}

// Released tells that semaphores became free: pipelines that wait for one must look again.
type Released struct {
	Semaphores []string `json:"semaphores"`
}

func (*Merge) effect()         {}
func (*Configure) effect()     {}
func (*RepoState) effect()     {}
func (*RequestNodes) effect()  {}
func (*Reprioritize) effect()  {}
func (*ReturnNodes) effect()   {}
func (*Start) effect()         {}
func (*Cancel) effect()        {}
func (*Resume) effect()        {}
func (*Report) effect()        {}
func (*Record) effect()        {}
func (*Refetch) effect()       {}
func (*Requeue) effect()       {}
func (*FindArtifacts) effect() {}
func (*FindEstimates) effect() {}
func (*Emit) effect()          {}
func (*Supersede) effect()     {}
func (*Released) effect()      {}
func (*DropView) effect()      {}
func (*FindHazards) effect()   {}
