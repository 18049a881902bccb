package config

import (
	"regexp"
	"strconv"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// driver is what the language offers for connections of one kind. Nil: nothing.
type driver struct {
	trigger func(r *reader, connection, driver string, v *node) []event.Filter
	require func(r *reader, f *change.Filter, v *node)
	report  func(r *reader, rep *pipeline.Reporter, v *node)
}

// driverFor is what connections of a kind of driver offer; nothing, for one that is not known.
func driverFor(name string) driver {
	switch name {
	case "gerrit", "local", "fake":
		return driver{gerritTrigger, gerritRequire, gerritReport}
	case "github", "gitea":
		return driver{githubTrigger, githubRequire, githubReport}
	case "gitlab":
		return driver{gitlabTrigger, gitlabRequire, gitlabReport}
	case "pagure":
		return driver{pagureTrigger, pagureRequire, pagureReport}
	case "git":
		return driver{trigger: gitTrigger}
	case "timer":
		return driver{trigger: timerTrigger}
	case "zuul":
		return driver{trigger: zuulTrigger, report: zuulReport}
	case "smtp":
		return driver{report: smtpReport}
	case "mqtt":
		return driver{report: mqttReport}
	case "elasticsearch":
		return driver{report: elasticsearchReport}
	}
	return driver{}
}

// options reads options that need no interpretation here: only their types are checked.
type options map[string]func(r *reader, v *node)

func (o options) read(r *reader, v *node, other func(p pair)) {
	table := make(attributes[options], len(o))
	for name, check := range o {
		table[name] = func(r *reader, _ *options, v *node) { check(r, v) }
	}
	read(r, &o, v, table, other)
}

func anyStr(r *reader, v *node)  { r.str(v) }
func anyBool(r *reader, v *node) { r.boolean(v) }
func anyStrs(r *reader, v *node) { r.strs(v) }

func choice(allowed ...string) func(*reader, *node) {
	return func(r *reader, v *node) { r.oneOf(v, allowed...) }
}

var durationText = regexp.MustCompile(`^([0-9]+)\s*([smhdw])[a-z]*$`)

var durationUnits = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour,
	"d": 24 * time.Hour, "w": 7 * 24 * time.Hour}

// duration reads 30s, 5m, 48h, 2d or 1w.
func (r *reader) duration(v *node) time.Duration {
	m := durationText.FindStringSubmatch(r.scalar(v))
	if m == nil {
		r.fail(NameSyntax, "%q is not a duration such as 30s, 5m, 48h, 2d or 1w", v.text)
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n > 1_000_000 {
		r.fail(NameSyntax, "the duration %q is too long", v.text)
		return 0
	}
	return time.Duration(n) * durationUnits[m[2]]
}

// votes reads entries of approvals: user, mail and age, and every other key a label. One vote must be all that
// an entry says, so one with two labels is met by none.
func (r *reader) votes(v *node) []change.VoteFilter {
	var out []change.VoteFilter
	for _, i := range items(v) {
		var f change.VoteFilter
		var labels []change.VoteFilter
		read(r, &f, i, attributes[change.VoteFilter]{
			"username":   func(r *reader, f *change.VoteFilter, v *node) { f.User = r.pattern(v) },
			"email":      func(r *reader, f *change.VoteFilter, v *node) { f.Email = r.pattern(v) },
			"older-than": func(r *reader, f *change.VoteFilter, v *node) { f.OlderThan = r.duration(v) },
			"newer-than": func(r *reader, f *change.VoteFilter, v *node) { f.NewerThan = r.duration(v) },
		}, func(p pair) {
			l := change.VoteFilter{Label: p.name}
			for _, n := range items(p.val) {
				l.Values = append(l.Values, r.integer(n))
			}
			labels = append(labels, l)
		})
		if len(labels) > 0 {
			f.Label, f.Values, f.Also = labels[0].Label, labels[0].Values, labels[1:]
		}
		if len(f.Also) > 0 {
			r.hint("write one entry for each label")
			r.warn(NameUnknown, "no vote is one for %s and one for %s", f.Label, f.Also[0].Label)
		}
		out = append(out, f)
	}
	return out
}

func (r *reader) pattern(v *node) *change.Pattern {
	p, ok := r.regex(v)
	if !ok {
		return nil
	}
	return &p
}

// eventVotes reads a trigger's approvals: labels with exactly one value.
func (r *reader) eventVotes(v *node) []event.VoteFilter {
	var out []event.VoteFilter
	for _, i := range items(v) {
		if i.kind != kindMap {
			r.expected("a dictionary of label and value", i)
			continue
		}
		for _, p := range i.pairs {
			out = append(out, event.VoteFilter{Label: p.name, Value: r.integer(p.val)})
		}
	}
	return out
}

func ptr(r *reader, v *node) *bool {
	b := r.boolean(v)
	return &b
}

// nested reads require and reject inside a trigger.
func nested(reject bool, require func(*reader, *change.Filter, *node)) func(*reader, *event.Filter, *node) {
	return func(r *reader, f *event.Filter, v *node) {
		for _, i := range items(v) {
			c := change.Filter{Connection: f.Connection, Reject: reject}
			require(r, &c, i)
			f.Require = append(f.Require, c)
		}
	}
}

func eventPatterns(get func(*event.Filter) *[]change.Pattern) func(*reader, *event.Filter, *node) {
	return func(r *reader, f *event.Filter, v *node) { *get(f) = append(*get(f), r.regexes(v)...) }
}

func eventTypes(allowed ...string) func(*reader, *event.Filter, *node) {
	return func(r *reader, f *event.Filter, v *node) {
		for _, i := range items(v) {
			f.Types = append(f.Types, r.oneOf(i, allowed...))
		}
	}
}

func eventActions(allowed ...string) func(*reader, *event.Filter, *node) {
	return func(r *reader, f *event.Filter, v *node) {
		for _, i := range items(v) {
			f.Actions = append(f.Actions, r.oneOf(i, allowed...))
		}
	}
}

// trigger reads one entry with a table, and asks for the event that every entry needs.
func trigger(r *reader, f event.Filter, v *node, table attributes[event.Filter]) []event.Filter {
	read(r, &f, v, table, nil)
	if v.kind == kindMap && v.child("event") == nil && table["event"] != nil {
		r.fail(NameSyntax, "required key not provided: %q", "event")
	}
	return []event.Filter{f}
}

var refAttr = eventPatterns(func(f *event.Filter) *[]change.Pattern { return &f.Refs })

func gitTrigger(r *reader, connection, driver string, v *node) []event.Filter {
	return trigger(r, event.Filter{Connection: connection, Driver: driver, IgnoreDeletes: true}, v, attributes[event.Filter]{
		"event":          eventTypes("ref-updated"),
		"ref":            refAttr,
		"ignore-deletes": func(r *reader, f *event.Filter, v *node) { f.IgnoreDeletes = r.boolean(v) },
	})
}

func timerTrigger(r *reader, connection, driver string, v *node) []event.Filter {
	f := event.Filter{Connection: connection, Driver: driver, Types: []string{"timer"}}
	read(r, &f, v, attributes[event.Filter]{
		"time": func(r *reader, f *event.Filter, v *node) {
			f.Schedules = r.strs(v)
			for _, s := range f.Schedules {
				r.timerFields(s)
			}
		},
	}, nil)
	if v.kind == kindMap && v.child("time") == nil {
		r.fail(NameSyntax, "required key not provided: %q", "time")
	}
	return []event.Filter{f}
}

func zuulTrigger(r *reader, connection, driver string, v *node) []event.Filter {
	return trigger(r, event.Filter{Connection: connection, Driver: driver}, v, attributes[event.Filter]{
		"event":    eventTypes("project-change-merged", "parent-change-enqueued", "image-build", "image-validate"),
		"pipeline": func(r *reader, f *event.Filter, v *node) { f.Pipelines = r.strs(v) },
		"image":    func(r *reader, f *event.Filter, v *node) { r.strs(v) },
	})
}

func zuulReport(r *reader, _ *pipeline.Reporter, v *node) {
	options{"image-built": anyBool, "image-validated": anyBool}.read(r, v, nil)
}

func smtpReport(r *reader, _ *pipeline.Reporter, v *node) {
	options{"to": anyStr, "from": anyStr, "subject": anyStr}.read(r, v, nil)
}

func mqttReport(r *reader, _ *pipeline.Reporter, v *node) {
	options{"topic": anyStr, "qos": func(r *reader, v *node) {
		if n := r.integer(v); n < 0 || n > 2 {
			r.fail(NameSyntax, "qos must be 0, 1 or 2, not %d", n)
		}
	}, "include-returned-data": anyBool}.read(r, v, nil)
}

func elasticsearchReport(r *reader, _ *pipeline.Reporter, v *node) {
	options{"index": anyStr, "index-vars": anyBool, "index-returned-vars": anyBool}.read(r, v, nil)
}

// merges tells whether the option is set to true (or to something else that is not false).
func merges(v *node, option string) bool {
	c := v.child(option)
	return c != nil && c.kind != kindNull && (c.kind != kindBool || c.num == 1)
}
