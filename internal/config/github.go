package config

import (
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

var reviewStates = []string{"approved", "commented", "changes_requested", "dismissed", "pending"}

var githubTriggerAttrs = attributes[event.Filter]{
	"event": eventTypes("pull_request", "pull_request_review", "push", "check_run"),
	"action": eventActions("opened", "changed", "closed", "reopened", "comment", "labeled", "unlabeled", "status",
		"edited", "submitted", "dismissed", "requested", "rerequested", "completed", "review"),
	"branch":         eventPatterns(func(f *event.Filter) *[]change.Pattern { return &f.Branches }),
	"comment":        eventPatterns(func(f *event.Filter) *[]change.Pattern { return &f.Comments }),
	"label":          func(r *reader, f *event.Filter, v *node) { f.Labels = r.strs(v) },
	"unlabel":        func(r *reader, f *event.Filter, v *node) { f.Unlabels = r.strs(v) },
	"ref":            refAttr,
	"status":         eventPatterns(func(f *event.Filter) *[]change.Pattern { return &f.Statuses }),
	"check":          eventPatterns(func(f *event.Filter) *[]change.Pattern { return &f.Checks }),
	"require":        nested(false, githubRequire),
	"reject":         nested(true, githubRequire),
	"ignore-deletes": func(r *reader, f *event.Filter, v *node) { f.IgnoreDeletes = r.boolean(v) },
	"state": func(r *reader, f *event.Filter, v *node) {
		for _, i := range items(v) {
			f.States = append(f.States, r.oneOf(i, reviewStates...))
		}
	},
	"require-status": func(r *reader, f *event.Filter, v *node) {
		c := change.Filter{Connection: f.Connection, CheckRuns: r.regexes(v)}
		f.Require = append(f.Require, c)
		r.hint("use require: {status: ...}")
		r.warn("GitHub require-status Deprecation", "the attribute require-status of a GitHub trigger is deprecated")
	},
}

func githubTrigger(r *reader, connection, driver string, v *node) []event.Filter {
	f := event.Filter{Connection: connection, Driver: driver}
	if e := v.child("event"); e != nil && e.kind == kindList {
		r.hint("write one trigger for each event")
		r.warn("GitHub Event List Deprecation", "a list of events in a GitHub trigger is deprecated")
	}
	if e := v.child("event"); e != nil && e.kind == kindString && e.text == "push" {
		f.IgnoreDeletes = true
	}
	// check_run's requested is the old word for rerequested.
	out := trigger(r, f, v, githubTriggerAttrs)
	for i := range out {
		for k, a := range out[i].Actions {
			switch a {
			case "requested":
				out[i].Actions[k] = "rerequested"
				r.warn("GitHub Check Run Requested Deprecation", "the action requested of a GitHub trigger is deprecated; use rerequested")
			case "review":
				out[i].Actions[k] = "submitted"
			}
		}
	}
	return out
}

func (r *reader) reviews(v *node) []change.ReviewFilter {
	var out []change.ReviewFilter
	for _, i := range items(v) {
		f := change.ReviewFilter{}
		read(r, &f, i, attributes[change.ReviewFilter]{
			"username":   func(r *reader, f *change.ReviewFilter, v *node) { f.User = r.pattern(v) },
			"email":      func(r *reader, f *change.ReviewFilter, v *node) { f.Email = r.pattern(v) },
			"older-than": func(r *reader, f *change.ReviewFilter, v *node) { f.OlderThan = r.duration(v) },
			"newer-than": func(r *reader, f *change.ReviewFilter, v *node) { f.NewerThan = r.duration(v) },
			"type": func(r *reader, f *change.ReviewFilter, v *node) {
				for _, i := range items(v) {
					f.Type = append(f.Type, r.oneOf(i, reviewStates...))
				}
			},
			"permission": func(r *reader, f *change.ReviewFilter, v *node) {
				f.Permission = r.oneOf(v, "read", "write", "admin")
			},
		}, nil)
		out = append(out, f)
	}
	return out
}

var githubRequireAttrs = attributes[change.Filter]{
	"review":           func(r *reader, f *change.Filter, v *node) { f.Reviews = r.reviews(v) },
	"open":             func(r *reader, f *change.Filter, v *node) { f.Open = ptr(r, v) },
	"merged":           func(r *reader, f *change.Filter, v *node) { f.Merged = ptr(r, v) },
	"current-patchset": func(r *reader, f *change.Filter, v *node) { f.Current = ptr(r, v) },
	"draft":            func(r *reader, f *change.Filter, v *node) { f.Draft = ptr(r, v) },
	"status":           func(r *reader, f *change.Filter, v *node) { f.CheckRuns = r.regexes(v) },
	"label":            func(r *reader, f *change.Filter, v *node) { f.Labels = r.strs(v) },
}

func githubRequire(r *reader, f *change.Filter, v *node) { read(r, f, v, githubRequireAttrs, nil) }

func githubReport(r *reader, rep *pipeline.Reporter, v *node) {
	options{
		"status":      choice("pending", "success", "failure"),
		"check":       choice("cancelled", "failure", "in_progress", "neutral", "skipped", "success"),
		"comment":     anyBool,
		"review":      choice("approve", "request-changes", "comment"),
		"review-body": anyStr,
		"merge":       anyBool,
		"label":       anyStrs,
		"unlabel":     anyStrs,
		"status-url":  anyStr,
	}.read(r, v, nil)
	rep.Merges = merges(v, "merge")
}

var gitlabTriggerAttrs = attributes[event.Filter]{
	"event":    eventTypes("gl_merge_request", "gl_push"),
	"action":   eventActions("opened", "changed", "merged", "closed", "comment", "approved", "unapproved", "labeled"),
	"comment":  eventPatterns(func(f *event.Filter) *[]change.Pattern { return &f.Comments }),
	"labels":   func(r *reader, f *event.Filter, v *node) { f.Labels = r.strs(v) },
	"unlabels": func(r *reader, f *event.Filter, v *node) { f.Unlabels = r.strs(v) },
	"ref":      refAttr,
}

func gitlabTrigger(r *reader, connection, driver string, v *node) []event.Filter {
	f := event.Filter{Connection: connection, Driver: driver, IgnoreDeletes: true}
	return trigger(r, f, v, gitlabTriggerAttrs)
}

var gitlabRequireAttrs = attributes[change.Filter]{
	"open":     func(r *reader, f *change.Filter, v *node) { f.Open = ptr(r, v) },
	"merged":   func(r *reader, f *change.Filter, v *node) { f.Merged = ptr(r, v) },
	"approved": func(r *reader, f *change.Filter, v *node) { f.Approved = ptr(r, v) },
	"labels":   func(r *reader, f *change.Filter, v *node) { f.Labels = r.strs(v) },
}

func gitlabRequire(r *reader, f *change.Filter, v *node) { read(r, f, v, gitlabRequireAttrs, nil) }

func gitlabReport(r *reader, rep *pipeline.Reporter, v *node) {
	options{"comment": anyBool, "approval": anyBool, "merge": anyBool, "label": anyStrs, "unlabel": anyStrs}.read(r, v, nil)
	rep.Merges = merges(v, "merge")
}

func pagureTrigger(r *reader, connection, driver string, v *node) []event.Filter {
	f := event.Filter{Connection: connection, Driver: driver}
	return trigger(r, f, v, attributes[event.Filter]{
		"event":   eventTypes("pg_pull_request", "pg_pull_request_review", "pg_push"),
		"action":  eventActions("opened", "changed", "closed", "comment", "status", "tagged", "thumbsup", "merged"),
		"comment": eventPatterns(func(f *event.Filter) *[]change.Pattern { return &f.Comments }),
		"status":  func(r *reader, f *event.Filter, v *node) { f.Statuses = exact(r.strs(v)) },
		"ref":     refAttr,
		"tag":     func(r *reader, f *event.Filter, v *node) { f.Labels = r.strs(v) },
	})
}

func pagureRequire(r *reader, f *change.Filter, v *node) {
	read(r, f, v, attributes[change.Filter]{
		"score": func(r *reader, f *change.Filter, v *node) {
			f.Votes = append(f.Votes, change.VoteFilter{Label: "score", Values: []int{r.integer(v)}})
		},
		"open":   func(r *reader, f *change.Filter, v *node) { f.Open = ptr(r, v) },
		"merged": func(r *reader, f *change.Filter, v *node) { f.Merged = ptr(r, v) },
		"status": func(r *reader, f *change.Filter, v *node) { f.Statuses = r.strs(v) },
		"tags":   func(r *reader, f *change.Filter, v *node) { f.Labels = r.strs(v) },
	}, nil)
}

func pagureReport(r *reader, rep *pipeline.Reporter, v *node) {
	options{"status": choice("pending", "success", "failure"), "comment": anyBool, "merge": anyBool,
		"status-url": anyStr}.read(r, v, nil)
	rep.Merges = merges(v, "merge")
}

// Statuses tells whether a reporter of this kind sets a status or check that a forge may wait for.
func Statuses(rep pipeline.Reporter) bool {
	_, status := rep.Options["status"]
	_, check := rep.Options["check"]
	return (status || check) && strings.HasPrefix(rep.Driver, "git")
}
