package pipeline

import (
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/job"
)

// Meta comes with every input: the time at which it is processed and the seed from which new ids are
// derived. Two inputs never have the same seed.
type Meta struct {
	Now  time.Time `json:"now"`
	Seed string    `json:"seed"`
}

// Input is one thing that happened to a pipeline. The set is sealed: it is what is in this file.
type Input interface{ input() }

// Trigger is an event that concerns this pipeline: one of its filters matched (Match), or the change or
// one that depends on it is in the pipeline already.
type Trigger struct {
	Event event.Event `json:"event"`
	// Key is the change that the event is about; empty where none could be read.
	Key change.Key `json:"key,omitempty"`
	// Changes is the closure: the change, everything it needs and is needed by, transitively, as the
	// forges tell now. They replace what the state knows of them.
	Changes []*change.Change `json:"changes,omitempty"`
	// Match: enqueue it, if the requirements allow.
	Match bool `json:"match"`
}

// Enqueue adds a change without an event: an operator's wish (Force: requirements are ignored) or the
// other members of a cycle that was broken.
type Enqueue struct {
	Key     change.Key       `json:"key"`
	Changes []*change.Change `json:"changes,omitempty"`
	Event   event.Ref        `json:"event"`
	Force   bool             `json:"force,omitempty"`
	// Enqueued keeps an earlier time of enqueueing; zero is now.
	Enqueued time.Time `json:"enqueued,omitzero"`
}

// Refresh tells anew what the forges say of changes (before a cycle merges, or when dependencies were
// edited). Token is the Refetch effect's that asked for it, if one did.
type Refresh struct {
	Changes []*change.Change `json:"changes"`
	Token   string           `json:"token,omitempty"`
}

// Dequeue removes the first item with this change at exactly this patch set, or with this ref at whatever
// revision.
type Dequeue struct {
	Key change.Key `json:"key"`
	// Superseded: another pipeline that supersedes this one has the change now; else an operator asked.
	Superseded bool `json:"superseded,omitempty"`
}

// Promote reorders: these changes go to the front of their queues, in this order.
type Promote struct {
	Keys []change.Key `json:"keys"`
	// Changes is the closure of all changes of the affected queues.
	Changes []*change.Change `json:"changes,omitempty"`
}

// Pause stops the pipeline from starting new builds, for the reason; an empty reason lets it go on.
type Pause struct {
	Reason string `json:"reason"`
}

// Reconfigure brings a new merged layout. Items stay with their builds; those whose project left the
// pipeline's tenant go.
type Reconfigure struct {
	Settings Settings `json:"settings"`
	Tenant   Tenant   `json:"tenant"`
	// Removed: the pipeline is no longer part of the layout; every item goes.
	Removed bool `json:"removed,omitempty"`
}

// Wake looks again at everything: a semaphore was released elsewhere, or time has passed.
type Wake struct{}

// Merged is the outcome of a Merge effect.
type Merged struct {
	Item     ItemID     `json:"item"`
	Buildset BuildsetID `json:"buildset"`
	// Conflict says what could not be merged, in words for people; Result is nil then.
	Conflict string       `json:"conflict,omitempty"`
	Result   *MergeResult `json:"result,omitempty"`
	// Files are the changed files, where the effect asked for them.
	Files map[change.Key][]string `json:"files,omitempty"`
}

// Configured is the outcome of a Configure effect.
type Configured struct {
	Item     ItemID     `json:"item"`
	Buildset BuildsetID `json:"buildset"`
	// Layout identifies the layout that counts for the item and those behind it.
	Layout string `json:"layout"`
	// NotInPipeline: that layout has nothing for the item's projects in this pipeline.
	NotInPipeline bool       `json:"not_in_pipeline,omitempty"`
	Graph         *job.Graph `json:"graph,omitempty"`
	// Problems block; Warnings are shown.
	Problems []Problem `json:"problems,omitempty"`
	Warnings []string  `json:"warnings,omitempty"`
}

// RepoStated is the outcome of a RepoState effect: the item's repository state now covers the projects
// of all its jobs.
type RepoStated struct {
	Item      ItemID     `json:"item"`
	Buildset  BuildsetID `json:"buildset"`
	RepoState string     `json:"repo_state"`
	// Problem says why it could not be read.
	Problem string `json:"problem,omitempty"`
}

// NodesReady is the outcome of a RequestNodes effect. Failed: no provider can.
type NodesReady struct {
	Item     ItemID     `json:"item"`
	Buildset BuildsetID `json:"buildset"`
	Job      job.ID     `json:"job"`
	Request  string     `json:"request"`
	Nodes    []string   `json:"nodes,omitempty"`
	Provider string     `json:"provider,omitempty"`
	Failed   bool       `json:"failed,omitempty"`
	Why      string     `json:"why,omitempty"`
}

// BuildStarted, BuildPaused, BuildFailing and BuildEnded are an executor's news about a build.
type BuildStarted struct {
	Build    BuildID   `json:"build"`
	At       time.Time `json:"at"`
	Executor string    `json:"executor"`
	LogURL   string    `json:"log_url,omitempty"`
}

// BuildPaused: the build succeeded so far and waits for its children.
type BuildPaused struct {
	Build      BuildID        `json:"build"`
	Data       map[string]any `json:"data,omitempty"`
	SecretData string         `json:"secret_data,omitempty"`
}

// BuildFailing: the build still runs, but it will fail (early failure).
type BuildFailing struct {
	Build BuildID `json:"build"`
}

// BuildEnded: the build is over. An empty result asks for another attempt.
type BuildEnded struct {
	Build      BuildID        `json:"build"`
	Result     Result         `json:"result"`
	At         time.Time      `json:"at"`
	Started    time.Time      `json:"started,omitzero"`
	Detail     string         `json:"detail,omitempty"`
	Data       map[string]any `json:"data,omitempty"`
	SecretData string         `json:"secret_data,omitempty"`
	Warnings   []string       `json:"warnings,omitempty"`
	Held       bool           `json:"held,omitempty"`
}

// Reported is the outcome of a Report effect that merges (others bring none).
type Reported struct {
	Item     ItemID     `json:"item"`
	Buildset BuildsetID `json:"buildset"`
	// Report is the effect's ID.
	Report string `json:"report"`
	// Merged tells for each change whether it is on its branch now.
	Merged map[change.Key]bool `json:"merged,omitempty"`
	// Why says for a change that is not what the forge answered.
	Why map[change.Key]string `json:"why,omitempty"`
	// Moved: the branch is no longer what the tested commits were made upon, so nothing was merged; the
	// item must be tested again.
	Moved bool `json:"moved,omitempty"`
	// Error: a reporter failed; what is known about merges still counts.
	Error string `json:"error,omitempty"`
}

// Provided is the outcome of a FindArtifacts effect.
type Provided struct {
	Item     ItemID     `json:"item"`
	Buildset BuildsetID `json:"buildset"`
	Job      job.ID     `json:"job"`
	Token    string     `json:"token"`
	// Artifacts found for the changes, in their order. Failed says which provider did not succeed, as
	// the rest of the sentence "Job j requires": "artifact(s) n provided by build ..., but ...".
	Artifacts []Artifact `json:"artifacts,omitempty"`
	Failed    string     `json:"failed,omitempty"`
}

// HazardsFound is the outcome of a FindHazards effect. Unknown says why something is not known; what is not known
// is no hazard.
type HazardsFound struct {
	Item     ItemID     `json:"item"`
	Buildset BuildsetID `json:"buildset"`
	Token    string     `json:"token"`
	Hazards  []Hazard   `json:"hazards,omitempty"`
	Unknown  string     `json:"unknown,omitempty"`
}

// Hazard is that one job read what another one was still to write.
type Hazard struct {
	Writer job.ID `json:"writer"`
	Reader job.ID `json:"reader"`
	// Resource and the tasks are for people.
	Resource string `json:"resource"`
	Wrote    string `json:"wrote"`
	Read     string `json:"read"`
}

// Estimated is the outcome of a FindEstimates effect.
type Estimated struct {
	// Jobs are the expected durations by name; jobs that never succeeded are missing.
	Jobs map[string]time.Duration `json:"jobs"`
}

func (*Trigger) input()      {}
func (*Enqueue) input()      {}
func (*Refresh) input()      {}
func (*Dequeue) input()      {}
func (*Promote) input()      {}
func (*Pause) input()        {}
func (*Reconfigure) input()  {}
func (*Wake) input()         {}
func (*Merged) input()       {}
func (*Configured) input()   {}
func (*RepoStated) input()   {}
func (*NodesReady) input()   {}
func (*BuildStarted) input() {}
func (*BuildPaused) input()  {}
func (*BuildFailing) input() {}
func (*BuildEnded) input()   {}
func (*Reported) input()     {}
func (*Provided) input()     {}
func (*Estimated) input()    {}
func (*HazardsFound) input() {}
