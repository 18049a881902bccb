// Package api is what Gozer says over HTTP: the JSON of Zuul's own endpoints, which dashboards read
// already, the JSON of Gozer's live page and job graphs, and a client for both. It holds words, no
// decisions: what is true is computed by web and below, so that the page, the command line and other
// programs show the same. Nothing here depends on how the server keeps its state.
package api

import (
	"encoding/json"
	"time"
)

// Event is one message of a tenant's live stream. The first is a snapshot; the deltas after it are to
// be applied in order. A client that comes back with the last Version it saw (Last-Event-ID) gets what
// it missed, or a snapshot again.
type Event struct {
	// Version is opaque: it names this state of the stream of one server.
	Version string `json:"version"`
	// Snapshot: Pipelines is all there is; what the client knew is forgotten. Now is the server's time.
	Snapshot bool      `json:"snapshot,omitempty"`
	Now      time.Time `json:"now"`
	// Pipelines are those that are new or changed (without the items, which stand in Items).
	Pipelines []Pipeline `json:"pipelines,omitempty"`
	Items     []Item     `json:"items,omitempty"`
	// GonePipelines and GoneItems are names and ids that exist no more.
	GonePipelines []string `json:"gone_pipelines,omitempty"`
	GoneItems     []string `json:"gone_items,omitempty"`
}

// Pipeline is one pipeline as the live page shows it.
type Pipeline struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Manager     string `json:"manager"`
	// Position orders the pipelines for people.
	Position int `json:"position"`
	// State is normal, paused (Reason says why), disabled or error.
	State    string   `json:"state"`
	Reason   string   `json:"reason,omitempty"`
	Triggers []string `json:"triggers,omitempty"`
	Queues   []Queue  `json:"queues"`
}

// Queue is a change queue that is not empty, front first.
type Queue struct {
	Name   string `json:"name"`
	Branch string `json:"branch,omitempty"`
	// Window is how many items at the front are worked on; 0 is all.
	Window int      `json:"window"`
	Items  []string `json:"items"`
}

// Item is one or several changes on their way through a pipeline.
type Item struct {
	ID       string   `json:"id"`
	Pipeline string   `json:"pipeline"`
	Refs     []Ref    `json:"refs"`
	Live     bool     `json:"live"`
	Active   bool     `json:"active"`
	Ahead    string   `json:"ahead,omitempty"`
	Behind   []string `json:"behind,omitempty"`
	Buildset string   `json:"buildset,omitempty"`
	// State is one word for people: queued, merging, configuring, running, failing, succeeded, failed,
	// problem. Note says more, in a sentence, where there is more to say.
	State string `json:"state"`
	Note  string `json:"note,omitempty"`
	// Why it is where it is, in one sentence.
	Why      string    `json:"why"`
	Failing  []string  `json:"failing,omitempty"`
	Problems []Problem `json:"problems,omitempty"`
	Enqueued time.Time `json:"enqueued"`
	// Ends is when the item's jobs will probably be done; zero where nobody can tell.
	Ends time.Time `json:"ends,omitzero"`
	Jobs []Job     `json:"jobs"`
}

// Ref is a change or a ref, with its links.
type Ref struct {
	Key       string `json:"key"`
	ID        string `json:"id"`
	Project   string `json:"project"`
	Canonical string `json:"canonical"`
	Branch    string `json:"branch,omitempty"`
	Ref       string `json:"ref"`
	URL       string `json:"url,omitempty"`
	Owner     string `json:"owner,omitempty"`
	Title     string `json:"title,omitempty"`
}

// Problem is a configuration error or warning.
type Problem struct {
	Name     string `json:"name,omitempty"`
	Severity string `json:"severity,omitempty"`
	Project  string `json:"project,omitempty"`
	Branch   string `json:"branch,omitempty"`
	Path     string `json:"path,omitempty"`
	Line     int    `json:"line,omitempty"`
	Text     string `json:"text"`
	Short    string `json:"short,omitempty"`
}

// Job is a job of an item, with its present build.
type Job struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Voting bool   `json:"voting"`
	// State is one word: waiting, queued, running, paused, failing, success, failure, skipped,
	// canceled. Result is Zuul's, once there is one.
	State  string `json:"state"`
	Result string `json:"result,omitempty"`
	Build  string `json:"build,omitempty"`
	Tries  int    `json:"tries,omitempty"`
	// Waiting says why the job does not run yet; Detail, one line about its end.
	Waiting string `json:"waiting,omitempty"`
	Detail  string `json:"detail,omitempty"`
	// Why it runs, waits or was skipped, in one sentence.
	Why string `json:"why,omitempty"`
	// Depends are the jobs that must be done first.
	Depends    []Edge    `json:"depends,omitempty"`
	Semaphores []string  `json:"semaphores,omitempty"`
	Queued     time.Time `json:"queued,omitzero"`
	Started    time.Time `json:"started,omitzero"`
	Ended      time.Time `json:"ended,omitzero"`
	// EstimateMS is how long it usually takes, in milliseconds; 0: it never succeeded before.
	EstimateMS int64  `json:"estimate_ms,omitempty"`
	LogURL     string `json:"log_url,omitempty"`
}

// Edge is a dependency on another job of the graph.
type Edge struct {
	Job  string `json:"job"`
	Soft bool   `json:"soft,omitempty"`
}

// Graph is a buildset's jobs with what is known, or was, of their times.
type Graph struct {
	Buildset string `json:"buildset"`
	Tenant   string `json:"tenant"`
	Pipeline string `json:"pipeline"`
	Refs     []Ref  `json:"refs"`
	Result   string `json:"result,omitempty"`
	// Live: it is still in its pipeline.
	Live bool      `json:"live"`
	Now  time.Time `json:"now"`
	Jobs []Job     `json:"jobs"`
	// Critical is the chain of jobs that sets the end, first to last.
	Critical []string `json:"critical,omitempty"`
	// SerialMS is the sum of all jobs' times, ParallelMS from the first start to the last end (expected,
	// while it runs), LowerBoundMS what no schedule could beat.
	SerialMS     int64 `json:"serial_ms"`
	ParallelMS   int64 `json:"parallel_ms"`
	LowerBoundMS int64 `json:"lower_bound_ms"`
	// Bound says in words what sets the lower bound.
	Bound string `json:"bound,omitempty"`
	// EdgesKnown: the dependencies are those of the frozen graph. Of a buildset that left its pipeline
	// only the times are kept.
	EdgesKnown bool `json:"edges_known"`
}

// LogLines is a range of a build's log.
type LogLines struct {
	// From is the index of the first of Lines, counted from 0; Total is how many there are now.
	From  int      `json:"from"`
	Lines []string `json:"lines"`
	Total int      `json:"total"`
	// Done: the log will not grow.
	Done bool `json:"done"`
}

// LogIndex tells what is where in a log. Lines are counted from 0.
type LogIndex struct {
	Lines    int          `json:"lines"`
	Bytes    int64        `json:"bytes"`
	Done     bool         `json:"done"`
	Sections []LogSection `json:"sections"`
	Failures []LogFailure `json:"failures,omitempty"`
}

// LogSection is a playbook, a play or a task: its first line, and the one after its last, which may still
// move where it is open.
type LogSection struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	From int    `json:"from"`
	To   int    `json:"to"`
	Open bool   `json:"open,omitempty"`
}

// LogFailure is where a task failed on a host.
type LogFailure struct {
	Line int    `json:"line"`
	Task string `json:"task"`
	Host string `json:"host"`
}

// Recipe is what a build was made of: Build is a pipeline.Recipe, Remotes say from where git fetches the
// projects, by canonical name.
type Recipe struct {
	Build   Raw               `json:"build"`
	Remotes map[string]string `json:"remotes"`
}

// ExplainedBuild says why a build came to what it came to.
type ExplainedBuild struct {
	Build Build `json:"build"`
	// Detail is what the executor said of it, in full.
	Detail string `json:"detail,omitempty"`
	// Failure is the task that failed; nil where none did, or the log is kept no longer.
	Failure *BuildFailure `json:"failure,omitempty"`
	// Novelty says in words whether the failure is new; New, that the newest builds for other changes
	// succeeded. Empty for builds that did not fail.
	Novelty string `json:"novelty,omitempty"`
	New     bool   `json:"new"`
	// LastSuccess is the newest earlier build of the job that succeeded.
	LastSuccess *Build `json:"last_success,omitempty"`
}

// BuildFailure is the task that failed first. Line counts from 0.
type BuildFailure struct {
	Playbook string   `json:"playbook"`
	Task     string   `json:"task"`
	Host     string   `json:"host,omitempty"`
	Line     int      `json:"line"`
	Lines    []string `json:"lines"`
}

// LogHits are the lines in which a search found its text; More: there are further ones.
type LogHits struct {
	Hits []LogHit `json:"hits"`
	More bool     `json:"more,omitempty"`
}

// LogHit is one line.
type LogHit struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

// Error is the body of every answer that is an error.
type Error struct {
	Code        int    `json:"code"`
	Kind        string `json:"error"`
	Description string `json:"error_description"`
	Realm       string `json:"realm,omitempty"`
}

// Error is the description.
func (e *Error) Error() string { return e.Description }

// Raw is JSON that is handed on as it is.
type Raw = json.RawMessage
