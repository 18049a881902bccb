// Package event is the vocabulary of everything that can happen: what a forge, a timer, an operator
// or Gozer itself tells, as plain data, and the filters by which a pipeline's triggers choose among
// it. It fetches nothing: what an event is about is read from the forge later.
package event

import (
	"time"

	"github.com/gozer-ci/gozer/internal/change"
)

// Event is one thing that happened. Which fields are set depends on Type; the words are those of the
// driver that the event came from, so that triggers written for Zuul match.
type Event struct {
	// ID goes through everything that this event causes: log lines, items, builds.
	ID string `json:"id"`
	// Connection is the connection (or "timer", "zuul") that it came from; Driver, its kind.
	Connection string `json:"connection"`
	Driver     string `json:"driver"`
	// Type and Action are the driver's words: patchset-created, comment-added, ref-updated,
	// pull_request + opened, gl_merge_request + comment, timer, project-change-merged...
	Type    string         `json:"type"`
	Action  string         `json:"action,omitempty"`
	Project change.Project `json:"project"`
	// At is when the forge says that it happened; Received, when Gozer took it in.
	At       time.Time `json:"at,omitzero"`
	Received time.Time `json:"received,omitzero"`

	// Number and Patchset name the change, where there is one.
	Number   string `json:"number,omitempty"`
	Patchset string `json:"patchset,omitempty"`
	// Branch is a change's target; Ref, OldRev and NewRev describe an updated ref (Ref as the
	// driver reports it: Gerrit names a branch without refs/heads/).
	Branch string `json:"branch,omitempty"`
	Ref    string `json:"ref,omitempty"`
	OldRev string `json:"old_rev,omitempty"`
	NewRev string `json:"new_rev,omitempty"`

	// Comment is the text of a comment; PatchsetComments are inline comments on the patch set level.
	Comment          string   `json:"comment,omitempty"`
	PatchsetComments []string `json:"patchset_comments,omitempty"`
	// Votes are those that came with this event, with what they replaced.
	Votes []Vote `json:"votes,omitempty"`
	// User, Email and Name are of the account that caused the event.
	User  string `json:"user,omitempty"`
	Email string `json:"email,omitempty"`
	Name  string `json:"name,omitempty"`
	// Added and Removed are hashtags or labels that the event put on or took off.
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	// State is GitHub's state of a review; Status, "user:context:state"; Check, "app:name:conclusion".
	State  string `json:"state,omitempty"`
	Status string `json:"status,omitempty"`
	Check  string `json:"check,omitempty"`

	// BranchCreated, BranchDeleted, DefaultBranchChanged and ProtectionChanged tell what a ref
	// update did to the set of branches.
	BranchCreated        bool `json:"branch_created,omitempty"`
	BranchDeleted        bool `json:"branch_deleted,omitempty"`
	DefaultBranchChanged bool `json:"default_branch_changed,omitempty"`
	ProtectionChanged    bool `json:"protection_changed,omitempty"`
	// Pushed lists the files of a ref update, where the driver knows; nil is unknown.
	Pushed []string `json:"pushed,omitempty"`
	// MessageChanged: title or description was edited, so the dependencies may have changed.
	MessageChanged bool `json:"message_changed,omitempty"`

	// Tenant and Pipeline are set for events that concern one only: a timer's tick, the
	// project-change-merged and parent-change-enqueued of Gozer itself, an operator's enqueue.
	Tenant   string `json:"tenant,omitempty"`
	Pipeline string `json:"pipeline,omitempty"`
	// Schedule is the timer trigger's time expression.
	Schedule string `json:"schedule,omitempty"`
	// Forced: an operator's enqueue into Pipeline, which no trigger or requirement may refuse.
	Forced bool `json:"forced,omitempty"`
	// Images are the image names of an image-build event.
	Images []string `json:"images,omitempty"`
	// Order lists "number,patchset" for an operator's promote.
	Order []string `json:"order,omitempty"`
	// Reply names the record under which an operator waits for the answer.
	Reply string `json:"reply,omitempty"`
	// Change is the change that a zuul event is about, where the driver already has it.
	Change *change.Change `json:"change,omitempty"`
}

// Types of events of driver "operator": what people ask for by command line, API and page. They go
// through the same queue as everything else, so that order holds.
const (
	OperatorEnqueue     = "enqueue"     // Pipeline, Project, Number and Patchset, or Ref with OldRev, NewRev
	OperatorDequeue     = "dequeue"     // the same
	OperatorPromote     = "promote"     // Pipeline, Order
	OperatorPause       = "pause"       // Pipeline, Comment is the reason; empty lets it go on
	OperatorReconfigure = "reconfigure" // Action: full, smart or tenant
)

// ProjectChangeMerged is the type of two events of driver "zuul": the core's word that it merged a change
// (Change is set), and the one that each open change of the project gets for it.
const ProjectChangeMerged = "project-change-merged"

// Vote is a vote that came with an event.
type Vote struct {
	change.Vote
	// Old is the value that it replaced; nil where that is not known.
	Old *int `json:"old,omitempty"`
}

// Ref is what is kept of an event with the items that it made: enough to say why they are there.
type Ref struct {
	ID  string     `json:"id"`
	At  time.Time  `json:"at,omitzero"`
	Key change.Key `json:"key,omitempty"`
	// Stable is the change the event was about, whatever its patch set.
	Stable change.Stable `json:"stable,omitempty"`
	Images []string      `json:"images,omitempty"`
	// Timer: it was a timer's tick.
	Timer bool `json:"timer,omitempty"`
}

// PatchsetCreated tells whether e says that a change has a new patch set.
func (e *Event) PatchsetCreated() bool {
	switch e.Driver {
	case "gerrit", "local", "fake":
		return e.Type == "patchset-created"
	case "github", "gitea":
		return e.Type == "pull_request" && e.Action == "changed"
	case "gitlab":
		return e.Type == "gl_merge_request" && e.Action == "changed"
	}
	return false
}

// Abandoned tells whether e says that a change was abandoned or closed without a merge.
func (e *Event) Abandoned() bool {
	switch e.Driver {
	case "gerrit", "local", "fake":
		return e.Type == "change-abandoned"
	case "github", "gitea":
		return e.Type == "pull_request" && e.Action == "closed"
	case "gitlab":
		return e.Type == "gl_merge_request" && e.Action == "closed"
	}
	return false
}

// Merged tells whether e says that a change was merged by its forge.
func (e *Event) Merged() bool {
	switch e.Driver {
	case "gerrit", "local", "fake":
		return e.Type == "change-merged"
	case "gitlab":
		return e.Type == "gl_merge_request" && e.Action == "merged"
	}
	return false
}
