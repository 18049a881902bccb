// Package pipeline is the heart of Gozer: the state machine of one pipeline. Step takes the state of
// the pipeline and one input, changes the state, and says what must be done now, as effects. It does
// no I/O, reads no clock and draws no random number: time and the seed of new ids come in with the
// input, so the same state and the same input always give the same effects. Whoever calls Step commits
// state and effects together; effects are carried out by others, and their outcomes come back as
// inputs. Late news about work that no longer matters is ignored here, not by the caller.
//
// The rules are those of Zuul 11.3 (semantics, section 2): four managers, queues, windows, the nearest
// non-failing item ahead, speculative layouts, retries, skips, pauses, semaphores, reports.
package pipeline

import (
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/job"
)

// ItemID, BuildsetID and BuildID are UUIDs.
type (
	ItemID     string
	BuildsetID string
	BuildID    string
)

// State is one pipeline: plain data that can be written down and read back at any point between two
// steps. Only Step changes it.
type State struct {
	Settings Settings `json:"settings"`
	Tenant   Tenant   `json:"tenant"`
	// Queues in order of precedence (promotion moves one to the front).
	Queues []*Queue         `json:"queues"`
	Items  map[ItemID]*Item `json:"items"`
	// Changes is what the forges last said of every change that an item is about or depends on.
	Changes map[change.Key]*change.Change `json:"changes"`
	// Failures counts consecutive failures; Disabled: only the disabled reporters are used.
	Failures int  `json:"failures,omitempty"`
	Disabled bool `json:"disabled,omitempty"`
	// Stopping are canceled builds that have not ended yet, with the nodes that they still use.
	Stopping map[BuildID]Stopping `json:"stopping,omitempty"`
	// Paused: an operator stopped the queue from starting anything new, for this reason.
	Paused string `json:"paused,omitempty"`
	// Estimates are the expected durations of jobs, by name, as history told them last.
	Estimates map[string]time.Duration `json:"estimates,omitempty"`
	// Parallel, where not 0, bounds the jobs of a buildset instead of the settings, because of what SteppedBack
	// tells.
	Parallel    int    `json:"parallel,omitempty"`
	SteppedBack string `json:"stepped_back,omitempty"`

	// running finds the item of a build that has no result; nil: not known, as after reading the state back.
	running map[BuildID]ItemID
	// cycles are the changes of the cycle that a change is in; nil: not known.
	cycles map[change.Key][]change.Key
}

// Stopping is what a canceled build still holds until it has ended.
type Stopping struct {
	Buildset BuildsetID `json:"buildset,omitempty"`
	Request  string     `json:"request,omitempty"`
	Nodes    []string   `json:"nodes,omitempty"`
	// Viewed: it may use its buildset's view.
	Viewed bool `json:"viewed,omitempty"`
}

// Queue is one change queue: items front first.
type Queue struct {
	// Name is that of the shared queue, or of the project; Branch is set for queues per branch and for
	// supercedent ones (there it may be any ref).
	Name   string `json:"name"`
	Branch string `json:"branch,omitempty"`
	// Projects that belong here (canonical names). Dynamic queues are made for one item (every item of
	// an independent pipeline has one) and vanish when they are empty.
	Projects []string `json:"projects,omitempty"`
	Dynamic  bool     `json:"dynamic,omitempty"`
	// Window is the present size; 0 is no bound.
	Window int      `json:"window"`
	Items  []ItemID `json:"items"`

	// line is Items looked up; nil: not known, see (*stepper).line.
	line []*Item
}

// Item is one or several changes (a cycle) on their way through a pipeline.
type Item struct {
	ID ItemID `json:"id"`
	// Changes of the item, git parents first.
	Changes []change.Key `json:"changes"`
	// Live items have jobs; others are there as context of the items behind them.
	Live bool `json:"live"`
	// Quiet items do not report start and dequeue.
	Quiet bool `json:"quiet,omitempty"`
	// Ahead is the item this one is tested on top of; empty: the branch as it is.
	Ahead ItemID `json:"ahead,omitempty"`
	// Behind are the items tested on top of this one.
	Behind []ItemID `json:"behind,omitempty"`
	// Active: inside the window.
	Active   bool      `json:"active"`
	Event    event.Ref `json:"event"`
	Enqueued time.Time `json:"enqueued"`
	Dequeued time.Time `json:"dequeued,omitzero"`

	ReportedStart bool `json:"reported_start,omitempty"`
	Reported      bool `json:"reported,omitempty"`
	// Layout is the layout that the item's jobs come from; empty until that is known.
	Layout string `json:"layout,omitempty"`
	// Buildset is the present one; a reset makes a new one.
	Buildset *Buildset `json:"buildset,omitempty"`
	// Blocked is why the item was taken out of consideration ("Change 3 is needed"), for reports.
	Blocked string `json:"blocked,omitempty"`
	// MissingRequirements: it was taken out because the forge would not merge it any more.
	MissingRequirements bool `json:"missing_requirements,omitempty"`
	// Merging is the Report effect whose merges are awaited; until Reported comes, nothing removes the
	// item.
	Merging string `json:"merging,omitempty"`
	// Refetching is the Refetch effect whose Refresh is awaited before a cycle may merge; Refetched
	// names the buildset for which it came.
	Refetching string     `json:"refetching,omitempty"`
	Refetched  BuildsetID `json:"refetched,omitempty"`
	// Moved counts how often a tested state could not land because its branch had moved meanwhile.
	Moved int `json:"moved,omitempty"`
	// Refused is what the forge answered where it did not merge what had passed.
	Refused string `json:"refused,omitempty"`
	// Failing lists why items behind do not build on this one; empty: it is fine so far.
	Failing []string `json:"failing,omitempty"`

	// rests and held are what the last look at the item found, see (*stepper).rests; unasking, that no request for
	// nodes of it is outstanding. All are false where it is not known, as after reading the state back.
	rests, held, unasking bool
	// relative is its relative priority, as worked out last in this step; ahead, the item of that id once looked up.
	relative int
	ahead    *Item
}

// Phase is how far a buildset has come in being prepared.
type Phase string

// The phases of a buildset, in order. Problem is an end like Ready.
const (
	PhaseNew       Phase = ""          // not active yet
	PhaseMerging   Phase = "merging"   // waiting for files and merge
	PhaseLayout    Phase = "layout"    // waiting for the layout and the job graph
	PhaseRepoState Phase = "repostate" // waiting for the state of repositories beyond the item's own
	PhaseReady     Phase = "ready"     // jobs may run
	PhaseProblem   Phase = "problem"   // merge conflict or configuration errors: no job runs
)

// Buildset is one speculative state of an item and the builds on it.
type Buildset struct {
	ID    BuildsetID `json:"id"`
	Phase Phase      `json:"phase,omitempty"`
	// Configured is the time that the speculative merge commits carry.
	Configured time.Time `json:"configured,omitzero"`
	// Asked: the Configure effect of this buildset is out. Stale: the tenant's layout changed since, so
	// its outcome is asked for again.
	Asked bool `json:"asked,omitempty"`
	Stale bool `json:"stale,omitempty"`
	// Operations are the merges that make the speculative state, fixed when it is asked for.
	Operations []*MergeOp `json:"operations,omitempty"`
	// Files of each change, where the forge did not say and the merger was asked.
	Files map[change.Key][]string `json:"files,omitempty"`
	// Merge is what the merger made of it.
	Merge *MergeResult `json:"merge,omitempty"`
	// Result is set once reported (SUCCESS, FAILURE...), see the Result constants.
	Result Result `json:"result,omitempty"`
	// Problems keep jobs from running; Warnings do not, but are reported.
	Problems []Problem `json:"problems,omitempty"`
	Warnings []string  `json:"warnings,omitempty"`
	// Conflict: the merge failed.
	Conflict string `json:"conflict,omitempty"`
	// NotInPipeline: the layout has no jobs section of any of the item's projects for this pipeline.
	NotInPipeline bool       `json:"not_in_pipeline,omitempty"`
	Graph         *job.Graph `json:"graph,omitempty"`
	// Jobs holds what happened to each job of the graph so far.
	Jobs map[job.ID]*JobState `json:"jobs,omitempty"`
	// Retries are builds that were repeated.
	Retries []Build `json:"retries,omitempty"`
	// Started: history has a row of it.
	Started bool `json:"started,omitempty"`
	// Viewed: its sources may have been laid on a host.
	Viewed bool `json:"viewed,omitempty"`
	// Looking is the FindHazards effect whose outcome is awaited; Looked: there was one, or none was needed.
	Looking string `json:"looking,omitempty"`
	Looked  bool   `json:"looked,omitempty"`
}

// MergeResult is the speculative state as the merger found or made it: values, no objects.
type MergeResult struct {
	// Commits by project and branch: the speculative head of each, after the item's own changes.
	Commits []Commit `json:"commits"`
	// Config names the blob with the configuration files of all changes of the item and ahead of it,
	// by project and branch, after the merge; empty where the item changes no configuration.
	Config string `json:"config,omitempty"`
	// RepoState names the blob with all refs of all involved repositories, as the merge found them.
	RepoState string `json:"repo_state,omitempty"`
	// Containing are the branches that contain a tag's commit.
	Containing []string `json:"containing,omitempty"`
}

// Commit is a speculative head. Base is what it was made upon: the branch head of the repository
// state, or the speculative head of the items ahead.
type Commit struct {
	Project change.Project `json:"project"`
	Branch  string         `json:"branch"`
	Commit  string         `json:"commit"`
	Base    string         `json:"base"`
	Tree    string         `json:"tree"`
	// Change is the change whose merge made the commit.
	Change change.Key `json:"change"`
}

// Problem is a configuration error or warning that concerns an item, ready to be shown.
type Problem struct {
	// Name is the kind of the error (Nodeset Not Found...); Severity, error or warning.
	Name     string `json:"name,omitempty"`
	Severity string `json:"severity,omitempty"`
	Project  string `json:"project,omitempty"`
	Branch   string `json:"branch,omitempty"`
	Path     string `json:"path,omitempty"`
	Line     int    `json:"line,omitempty"`
	EndLine  int    `json:"end_line,omitempty"`
	Text     string `json:"text"`
	Short    string `json:"short,omitempty"`
}

// JobState is what happened to one job of a buildset.
type JobState struct {
	// Build is the present attempt; nil before the first.
	Build *Build `json:"build,omitempty"`
	// Tries counts attempts begun.
	Tries int `json:"tries,omitempty"`
	// NodeRequest is outstanding or fulfilled; empty where none was made yet (or none is needed).
	NodeRequest string `json:"node_request,omitempty"`
	// Nodes are allocated and not returned yet.
	Nodes []string `json:"nodes,omitempty"`
	// Provider is where the nodes come from; children of a paused job get theirs from there, too.
	Provider string `json:"provider,omitempty"`
	// Relative is the relative priority that the request has.
	Relative int `json:"relative,omitempty"`
	// NodesReady: the request was fulfilled, or the job needs no nodes.
	NodesReady bool `json:"nodes_ready,omitempty"`
	// Alternative is the index of the nodeset now being tried.
	Alternative int `json:"alternative,omitempty"`
	// Semaphores that this job holds.
	Semaphores []string `json:"semaphores,omitempty"`
	// Queued is when the job first could have run; Waiting says why it does not, for people.
	Queued  time.Time `json:"queued,omitzero"`
	Waiting string    `json:"waiting,omitempty"`
	// Repair is why the job runs once more although it passed.
	Repair string `json:"repair,omitempty"`
	// SkippedBy is the job because of which this one was skipped.
	SkippedBy job.ID `json:"skipped_by,omitempty"`
	// ByChildJobs: it was skipped because a parent's child_jobs left it out.
	ByChildJobs bool `json:"by_child_jobs,omitempty"`
	// Lookup is the FindArtifacts effect whose outcome is awaited; Found: it came.
	Lookup string `json:"lookup,omitempty"`
	Found  bool   `json:"found,omitempty"`
	// Artifacts are those that history had of required changes that are not tested here now.
	Artifacts []Artifact `json:"artifacts,omitempty"`
}

// Build is one attempt to run a job. Fake results (SKIPPED, NODE_FAILURE) have a Build without Start.
type Build struct {
	ID  BuildID `json:"id"`
	Job job.ID  `json:"job"`
	// Attempt counts from 1.
	Attempt int `json:"attempt"`
	// Requested is when it was handed to executors; Started and Ended as the executor tells.
	Requested time.Time `json:"requested,omitzero"`
	Started   time.Time `json:"started,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	Result    Result    `json:"result,omitempty"`
	Paused    bool      `json:"paused,omitempty"`
	// PreFail: the executor saw that it will fail.
	PreFail  bool `json:"pre_fail,omitempty"`
	Canceled bool `json:"canceled,omitempty"`
	Held     bool `json:"held,omitempty"`
	// Executor, URL and Detail are for people: who runs it, its log, one line about its end.
	Executor string `json:"executor,omitempty"`
	LogURL   string `json:"log_url,omitempty"`
	Detail   string `json:"detail,omitempty"`
	// Data and SecretData are what zuul_return gave (SecretData: a sealed blob's name).
	Data       map[string]any `json:"data,omitempty"`
	SecretData string         `json:"secret_data,omitempty"`
	Warnings   []string       `json:"warnings,omitempty"`
}

// Result of a build or a buildset.
type Result string

// Results of builds, semantics 2.12.
const (
	Success       Result = "SUCCESS"
	Failure       Result = "FAILURE"
	PostFailure   Result = "POST_FAILURE"
	TimedOut      Result = "TIMED_OUT"
	Retry         Result = "RETRY"
	RetryLimit    Result = "RETRY_LIMIT"
	Skipped       Result = "SKIPPED"
	NodeFailure   Result = "NODE_FAILURE"
	Canceled      Result = "CANCELED"
	Aborted       Result = "ABORTED"
	MergeConflict Result = "MERGE_CONFLICT"
	DiskFull      Result = "DISK_FULL"
	ErrorResult   Result = "ERROR"
)

// Further results of buildsets, semantics 2.8.
const (
	NoJobs       Result = "NO_JOBS"
	ConfigError  Result = "CONFIG_ERROR"
	MergeFailure Result = "MERGE_FAILURE"
	Dequeued     Result = "DEQUEUED"
)

// Artifact is something that a build left for others, semantics 2.13.
type Artifact struct {
	Name     string         `json:"name"`
	URL      string         `json:"url"`
	Metadata map[string]any `json:"metadata,omitempty"`
	Project  string         `json:"project"`
	Change   string         `json:"change,omitempty"`
	Patchset string         `json:"patchset,omitempty"`
	Branch   string         `json:"branch,omitempty"`
	Ref      string         `json:"ref,omitempty"`
	Tag      string         `json:"tag,omitempty"`
	OldRev   string         `json:"oldrev,omitempty"`
	NewRev   string         `json:"newrev,omitempty"`
	Job      string         `json:"job"`
}

// Semaphores is who holds what in one tenant (and of global ones), shared by its pipelines. Step changes
// it together with State; the caller commits both in one transaction.
type Semaphores struct {
	// Holders by semaphore name, oldest first.
	Holders map[string][]Holder `json:"holders"`
	// Locks by name.
	Locks map[string]*LockState `json:"locks,omitempty"`
}

// Holder is one job that holds a semaphore.
type Holder struct {
	Tenant   string     `json:"tenant"`
	Pipeline string     `json:"pipeline"`
	Item     ItemID     `json:"item"`
	Buildset BuildsetID `json:"buildset"`
	Job      job.ID     `json:"job"`
	Since    time.Time  `json:"since"`
}
