// Package forge is the seam between Gozer and the places where people propose changes: Gerrit,
// GitHub, GitLab, Gitea, plain git, and the forge that is built in (forge/local). A driver reads
// changes, receives events, reports results and merges; it decides nothing about pipelines.
//
// # Promises
//
//  1. Change reads the forge's present answer. What is gone gives ErrNotFound; a forge that does not
//     answer, any other error: unknown, ask again.
//  2. The keys in a Change's needs and needed-by lists are keys of changes that Change can read.
//  3. Events are delivered at least once, in the order of the forge for each project; an Event is
//     given to the sink before the forge gets its answer, and the sink has stored it when it returns
//     nil.
//  4. Report is safe to repeat with the same Report.ID: at most one comment and one merge come of it.
//  5. Merge is part of Report (Report.Merge) and lands exactly what was tested: a driver that can
//     (forge/local) refuses where the branch is not at the commit that the report names.
//  6. A driver never invents: what it cannot know (files, votes) is left nil or empty as the field says.
//
// # Life of a connection
//
//  1. cmd makes the driver from the process configuration.
//  2. Serve runs as long as the process: it receives events (stream, webhook handler, polling).
//  3. The scheduler calls Change, Branches, Children as events come; the merger fetches from Remote.
//  4. The reporter calls Report.
package forge

import (
	"context"
	"errors"
	"net/http"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
)

// ErrNotFound: the forge answered that there is no such project, change or branch.
var ErrNotFound = errors.New("not found at the forge")

// Forge is one connection to one forge.
type Forge interface {
	// Name is the connection's name; Driver, its kind (gerrit, github, local...); Host, its canonical
	// host name.
	Name() string
	Driver() string
	Host() string

	// Change reads a change at a patch set; patchset "" is the current one. GitNeeds, CompatNeeds,
	// TopicNeeds and the needed-by lists are resolved as far as this forge knows; footers with URLs
	// are left to the caller, who knows all forges (Resolve).
	Change(ctx context.Context, p change.Project, number, patchset string) (*change.Change, error)
	// Resolve reads the change behind a URL, as found in a Depends-On footer. ok is false where the
	// URL is none of this forge's changes.
	Resolve(ctx context.Context, url string) (c *change.Change, ok bool, err error)
	// Dependents lists the keys of open changes whose message mentions c's URL in a Depends-On.
	Dependents(ctx context.Context, c *change.Change) ([]change.Key, error)
	// Branches lists the branches of a project, the default branch first.
	Branches(ctx context.Context, p change.Project) ([]Branch, error)
	// Remote tells from where the merger fetches the project.
	Remote(p change.Project) Remote
	// Report carries out one report.
	Report(ctx context.Context, r Report) (Outcome, error)
}

// Source is a Forge that receives events by itself: a stream or a poll.
type Source interface {
	// Serve hands events to sink until ctx ends.
	Serve(ctx context.Context, sink Sink) error
}

// Hook is a Forge that receives webhooks: web mounts it at /api/connection/<name>/payload.
type Hook interface {
	Webhook(sink Sink) http.Handler
}

// Sink stores events. When it returns nil, the event will not be lost.
type Sink func(ctx context.Context, e event.Event) error

// Branch is one branch of a project.
type Branch struct {
	Name      string `json:"name"`
	Commit    string `json:"commit"`
	Protected bool   `json:"protected,omitempty"`
	Locked    bool   `json:"locked,omitempty"`
}

// Remote is where git finds a project, and with what.
type Remote struct {
	URL string
	// Env are variables for the git process (GIT_SSH_COMMAND and the like); they may hold secrets
	// and never go to a job.
	Env []string
}

// Report is what a pipeline tells a forge about one change.
type Report struct {
	// ID makes the report repeatable: the same ID is carried out once.
	ID     string         `json:"id"`
	Change *change.Change `json:"change"`
	// Tenant, Pipeline, Buildset and Event say where it comes from.
	Tenant   string `json:"tenant"`
	Pipeline string `json:"pipeline"`
	Buildset string `json:"buildset"`
	Event    string `json:"event,omitempty"`
	// Action is start, success, failure, ...: which of the pipeline's reporters this is.
	Action string `json:"action"`
	// Message is the text for people. FileComments go to the lines of the change.
	Message      string               `json:"message"`
	FileComments []change.FileComment `json:"file_comments,omitempty"`
	// Options are the reporter's settings of the pipeline for this connection: label votes, submit,
	// merge, status, comment... as YAML gave them.
	Options map[string]any `json:"options,omitempty"`
	// URL leads to the result page.
	URL string `json:"url,omitempty"`

	// Merge asks to merge the change. Base is the commit that the branch must be at and Result the
	// tested merge commit, where the driver pushes by itself; MergeMode is the project's.
	Merge     bool   `json:"merge,omitempty"`
	MergeMode string `json:"merge_mode,omitempty"`
	Base      string `json:"base,omitempty"`
	Result    string `json:"result,omitempty"`
	// Objects tells where Result can be fetched from (the merger's repository).
	Objects string `json:"objects,omitempty"`
}

// Outcome is what came of a report.
type Outcome struct {
	// Merged tells whether the change is merged now, by whom ever. Why says what the forge answered
	// where a merge was asked for and did not happen.
	Merged bool   `json:"merged,omitempty"`
	Why    string `json:"why,omitempty"`
	// Moved: it did not happen because the branch was no longer at Report.Base: the change must be tested
	// again on what is there now.
	Moved bool `json:"moved,omitempty"`
}

// Topics is a Forge that groups changes by topic.
type Topics interface {
	// Topic lists the keys of the open changes of a topic.
	Topic(ctx context.Context, topic string) ([]change.Key, error)
	// WholeTopic tells whether the forge merges all changes of a topic at once, so that they need each other.
	WholeTopic() bool
}

// Bounded is a Forge of which events are left alone whose change stands on too many others.
type Bounded interface {
	// MaxDependencies is how many others a change may stand on, as git parents or by change ids; negative is no bound.
	MaxDependencies() int
}

// Opener is a Forge that can list the open changes of a project: for project-change-merged triggers.
type Opener interface {
	OpenChanges(ctx context.Context, p change.Project) ([]*change.Change, error)
}
