package event

import (
	"slices"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
)

// VoteFilter asks for a vote among those that came with an event, with exactly this value.
type VoteFilter struct {
	Label string `json:"label"`
	Value int    `json:"value"`
}

// Filter is one entry of a pipeline's trigger for one connection, in one form for all drivers.
// Empty fields ask for nothing. Lists are alternatives, except Votes and VoteChanges, which must
// all be there.
type Filter struct {
	Connection string   `json:"connection"`
	Driver     string   `json:"driver"`
	Types      []string `json:"types"`
	Actions    []string `json:"actions,omitempty"`

	Branches []change.Pattern `json:"branches,omitempty"`
	Refs     []change.Pattern `json:"refs,omitempty"`
	// IgnoreDeletes (default true for ref updates) skips updates to the zero revision.
	IgnoreDeletes bool             `json:"ignore_deletes,omitempty"`
	Comments      []change.Pattern `json:"comments,omitempty"`
	Users         []change.Pattern `json:"users,omitempty"`
	Emails        []change.Pattern `json:"emails,omitempty"`
	Votes         []VoteFilter     `json:"votes,omitempty"`
	VoteChanges   []VoteFilter     `json:"vote_changes,omitempty"`
	Added         []change.Pattern `json:"added,omitempty"`
	Removed       []change.Pattern `json:"removed,omitempty"`
	Labels        []string         `json:"labels,omitempty"`
	Unlabels      []string         `json:"unlabels,omitempty"`
	States        []string         `json:"states,omitempty"`
	Statuses      []change.Pattern `json:"statuses,omitempty"`
	Checks        []change.Pattern `json:"checks,omitempty"`
	// Schedules are the time expressions of a timer trigger; Pipelines, the parent pipelines of
	// parent-change-enqueued.
	Schedules []string `json:"schedules,omitempty"`
	Pipelines []string `json:"pipelines,omitempty"`
	// Require and Reject are requirements of the change, checked when the event is matched.
	Require []change.Filter `json:"require,omitempty"`
}

// Match tells whether e, which is about c (nil where it is about no change that could be read),
// is what f asks for at the time now. Rules: semantics 3.1 to 3.7.
func (f *Filter) Match(e *Event, c *change.Change, now time.Time) bool {
	if f.Connection != e.Connection {
		return false
	}
	switch {
	case len(f.Types) > 0 && !slices.Contains(f.Types, e.Type),
		len(f.Actions) > 0 && !slices.Contains(f.Actions, e.Action),
		len(f.Pipelines) > 0 && !slices.Contains(f.Pipelines, e.Pipeline),
		len(f.Schedules) > 0 && !slices.Contains(f.Schedules, e.Schedule),
		len(f.Branches) > 0 && !anyMatch(f.Branches, e.Branch),
		len(f.Refs) > 0 && (e.Ref == "" || !anyMatch(f.Refs, e.Ref)),
		f.IgnoreDeletes && e.NewRev == change.Zero,
		len(f.Comments) > 0 && !f.comment(e),
		len(f.Users) > 0 && !anySearch(f.Users, e.User),
		len(f.Emails) > 0 && !anySearch(f.Emails, e.Email),
		len(f.Added) > 0 && !anyOf(f.Added, e.Added),
		len(f.Removed) > 0 && !anyOf(f.Removed, e.Removed),
		len(f.Labels) > 0 && !overlap(f.Labels, e.Added),
		len(f.Unlabels) > 0 && !overlap(f.Unlabels, e.Removed),
		len(f.States) > 0 && !slices.Contains(f.States, e.State),
		len(f.Statuses) > 0 && !anySearch(f.Statuses, e.Status),
		len(f.Checks) > 0 && !anySearch(f.Checks, e.Check):
		return false
	}
	for _, v := range f.Votes {
		if !slices.ContainsFunc(e.Votes, func(x Vote) bool { return x.Label == v.Label && x.Value == v.Value }) {
			return false
		}
	}
	for _, v := range f.VoteChanges {
		if !slices.ContainsFunc(e.Votes, func(x Vote) bool {
			return x.Label == v.Label && x.Value == v.Value && x.Old != nil && *x.Old != x.Value
		}) {
			return false
		}
	}
	for i := range f.Require {
		if c == nil {
			return false
		}
		if ok, _ := f.Require[i].Match(c, now); !ok {
			return false
		}
	}
	return true
}

func (f *Filter) comment(e *Event) bool {
	return anySearch(f.Comments, e.Comment) ||
		slices.ContainsFunc(e.PatchsetComments, func(s string) bool { return anySearch(f.Comments, s) })
}

func anyMatch(ps []change.Pattern, s string) bool {
	return slices.ContainsFunc(ps, func(p change.Pattern) bool { return p.Match(s) })
}

func anySearch(ps []change.Pattern, s string) bool {
	return slices.ContainsFunc(ps, func(p change.Pattern) bool { return p.Search(s) })
}

func anyOf(ps []change.Pattern, list []string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return anySearch(ps, s) })
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
