package config

import (
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// gerritEvents are the events that a trigger may name. Gerrit has more, and sends new ones with new
// versions, so others are accepted too.
var gerritEvents = []string{"patchset-created", "draft-published", "change-abandoned", "change-restored",
	"change-merged", "comment-added", "ref-updated", "pending-check", "vote-deleted", "hashtags-changed",
	"wip-state-changed"}

var (
	gerritComments = eventPatterns(func(f *event.Filter) *[]change.Pattern { return &f.Comments })
	gerritEmails   = eventPatterns(func(f *event.Filter) *[]change.Pattern { return &f.Emails })
	gerritUsers    = eventPatterns(func(f *event.Filter) *[]change.Pattern { return &f.Users })
)

var gerritTriggerAttrs = attributes[event.Filter]{
	"event": func(r *reader, f *event.Filter, v *node) {
		f.Types = r.strs(v)
		for _, t := range f.Types {
			if h := Suggest(t, gerritEvents); h != "" && !slices.Contains(gerritEvents, t) {
				r.hint(h)
				r.warn(NameUnknown, "the event %q is not known to Gerrit's driver", t)
			}
		}
	},
	"branch":           eventPatterns(func(f *event.Filter) *[]change.Pattern { return &f.Branches }),
	"ref":              refAttr,
	"ignore-deletes":   func(r *reader, f *event.Filter, v *node) { f.IgnoreDeletes = r.boolean(v) },
	"approval":         func(r *reader, f *event.Filter, v *node) { f.Votes = r.eventVotes(v) },
	"approval-change":  func(r *reader, f *event.Filter, v *node) { f.VoteChanges = r.eventVotes(v) },
	"comment":          gerritComments,
	"comment_filter":   gerritComments,
	"email":            gerritEmails,
	"email_filter":     gerritEmails,
	"username":         gerritUsers,
	"username_filter":  gerritUsers,
	"added":            eventPatterns(func(f *event.Filter) *[]change.Pattern { return &f.Added }),
	"removed":          eventPatterns(func(f *event.Filter) *[]change.Pattern { return &f.Removed }),
	"uuid":             func(r *reader, f *event.Filter, v *node) { f.Checks = append(f.Checks, exact(r.strs(v))...) },
	"scheme":           func(r *reader, f *event.Filter, v *node) { f.Checks = append(f.Checks, exact(r.strs(v))...) },
	"require":          nested(false, gerritRequire),
	"reject":           nested(true, gerritRequire),
	"require-approval": gerritOldApproval(false),
	"reject-approval":  gerritOldApproval(true),
}

func exact(list []string) []change.Pattern {
	out := make([]change.Pattern, len(list))
	for i, s := range list {
		out[i] = change.Pattern{Regex: s, Exact: true}
	}
	return out
}

// gerritOldApproval reads the spelling that require and reject replaced.
func gerritOldApproval(reject bool) func(*reader, *event.Filter, *node) {
	return func(r *reader, f *event.Filter, v *node) {
		old, now := "require-approval", "require"
		if reject {
			old, now = "reject-approval", "reject"
		}
		f.Require = append(f.Require, change.Filter{Connection: f.Connection, Reject: reject, Votes: r.votes(v)})
		r.hint("use " + now + ": {approval: ...}")
		r.warn("Gerrit "+old+" Deprecation", "the attribute %s of a Gerrit trigger is deprecated", old)
	}
}

func gerritTrigger(r *reader, connection, driver string, v *node) []event.Filter {
	return trigger(r, event.Filter{Connection: connection, Driver: driver, IgnoreDeletes: true}, v, gerritTriggerAttrs)
}

var gerritRequireAttrs = attributes[change.Filter]{
	"approval":         func(r *reader, f *change.Filter, v *node) { f.Votes = r.votes(v) },
	"open":             func(r *reader, f *change.Filter, v *node) { f.Open = ptr(r, v) },
	"current-patchset": func(r *reader, f *change.Filter, v *node) { f.Current = ptr(r, v) },
	"wip":              func(r *reader, f *change.Filter, v *node) { f.WIP = ptr(r, v) },
	"status":           func(r *reader, f *change.Filter, v *node) { f.Statuses = r.strs(v) },
	"hashtags":         func(r *reader, f *change.Filter, v *node) { f.Hashtags = r.regexes(v) },
}

func gerritRequire(r *reader, f *change.Filter, v *node) { read(r, f, v, gerritRequireAttrs, nil) }

func gerritReport(r *reader, rep *pipeline.Reporter, v *node) {
	options{
		"submit": anyBool, "comment": anyBool, "notify": anyStr,
		"checks-api": func(r *reader, v *node) {
			options{"uuid": anyStr, "scheme": anyStr, "state": anyStr, "message": anyStr}.read(r, v, nil)
		},
	}.read(r, v, func(p pair) {
		r.integer(p.val)
		rep.Labels = append(rep.Labels, p.name)
	})
	rep.Merges = merges(v, "submit")
}
