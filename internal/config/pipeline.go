package config

import (
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// The texts with which reports begin where a pipeline says nothing else.
const (
	defaultSuccess  = "Build succeeded."
	defaultFailure  = "Build failed."
	defaultStart    = "Starting {pipeline.name} jobs."
	defaultDequeue  = "Build canceled."
	defaultConflict = "Merge Failed.\n\n" +
		"This change or one of its cross-repo dependencies was unable to be automatically merged with the current " +
		"state of its repository. Please rebase the change and upload a new patchset."
)

func (r *reader) pipeline(v *node) *Pipeline {
	p := &Pipeline{Settings: pipeline.Settings{
		AllowOtherConnections: true,
		DequeueOnNewPatchset:  true,
		Precedence:            "normal",
		Reporters:             map[pipeline.Action][]pipeline.Reporter{},
		Messages: pipeline.Messages{Success: defaultSuccess, Failure: defaultFailure, Start: defaultStart,
			MergeConflict: defaultConflict, Dequeue: defaultDequeue},
		Window: pipeline.WindowSettings{Size: 20, Floor: 3, IncreaseType: "linear", IncreaseFactor: 1,
			DecreaseType: "exponential", DecreaseFactor: 2},
	}}
	p.header(v)
	read(r, p, v, pipelineAttrs, nil)
	r.required(&p.Object, "name", "manager")
	p.Settings.Name = p.Name
	if w := p.Settings.Window; w.Ceiling > 0 && w.Ceiling < w.Floor {
		r.at = p.At("window-ceiling")
		r.fail(NameUnknown, "window-ceiling %d is below window-floor %d", w.Ceiling, w.Floor)
	}
	failure := p.Settings.Reporters[pipeline.ReportFailure]
	for _, a := range []pipeline.Action{pipeline.ReportMergeConflict, pipeline.ReportConfigError} {
		if _, ok := p.Settings.Reporters[a]; !ok && failure != nil {
			p.Settings.Reporters[a] = failure
		}
	}
	slices.Sort(p.Settings.Connections)
	p.Settings.Connections = slices.Compact(p.Settings.Connections)
	return p
}

func text(f func(*pipeline.Settings) *string) func(*reader, *Pipeline, *node) {
	return func(r *reader, p *Pipeline, v *node) { *f(&p.Settings) = r.str(v) }
}

func flag(f func(*pipeline.Settings) *bool) func(*reader, *Pipeline, *node) {
	return func(r *reader, p *Pipeline, v *node) { *f(&p.Settings) = r.boolean(v) }
}

func number(low int, f func(*pipeline.Settings) *int) func(*reader, *Pipeline, *node) {
	return func(r *reader, p *Pipeline, v *node) { *f(&p.Settings) = r.atLeast(v, low) }
}

func growth(f func(*pipeline.Settings) *string) func(*reader, *Pipeline, *node) {
	return func(r *reader, p *Pipeline, v *node) { *f(&p.Settings) = r.oneOf(v, "linear", "exponential") }
}

func reports(a pipeline.Action) func(*reader, *Pipeline, *node) {
	return func(r *reader, p *Pipeline, v *node) { p.Settings.Reporters[a] = r.reporters(p, v) }
}

var pipelineAttrs = attributes[Pipeline]{
	"name": func(r *reader, p *Pipeline, v *node) { p.Name = r.str(v) },
	"manager": func(r *reader, p *Pipeline, v *node) {
		p.Settings.Manager = pipeline.Kind(r.oneOf(v, "independent", "dependent", "serial", "supercedent"))
	},
	"description":             text(func(s *pipeline.Settings) *string { return &s.Description }),
	"post-review":             flag(func(s *pipeline.Settings) *bool { return &s.PostReview }),
	"allow-other-connections": flag(func(s *pipeline.Settings) *bool { return &s.AllowOtherConnections }),
	"dequeue-on-new-patchset": flag(func(s *pipeline.Settings) *bool { return &s.DequeueOnNewPatchset }),
	"ignore-dependencies":     flag(func(s *pipeline.Settings) *bool { return &s.IgnoreDependencies }),
	"supercedes":              func(r *reader, p *Pipeline, v *node) { p.Settings.Supercedes = r.strs(v) },
	"precedence": func(r *reader, p *Pipeline, v *node) {
		p.Settings.Precedence = r.oneOf(v, "normal", "low", "high")
	},
	"trigger": func(r *reader, p *Pipeline, v *node) { r.triggers(p, v) },
	"require": func(r *reader, p *Pipeline, v *node) { r.requirements(p, v, false) },
	"reject":  func(r *reader, p *Pipeline, v *node) { r.requirements(p, v, true) },

	"enqueue":        reports(pipeline.ReportEnqueue),
	"start":          reports(pipeline.ReportStart),
	"success":        reports(pipeline.ReportSuccess),
	"failure":        reports(pipeline.ReportFailure),
	"merge-conflict": reports(pipeline.ReportMergeConflict),
	"config-error":   reports(pipeline.ReportConfigError),
	"no-jobs":        reports(pipeline.ReportNoJobs),
	"disabled":       reports(pipeline.ReportDisabled),
	"dequeue":        reports(pipeline.ReportDequeue),

	"success-message":        text(func(s *pipeline.Settings) *string { return &s.Messages.Success }),
	"failure-message":        text(func(s *pipeline.Settings) *string { return &s.Messages.Failure }),
	"start-message":          text(func(s *pipeline.Settings) *string { return &s.Messages.Start }),
	"enqueue-message":        text(func(s *pipeline.Settings) *string { return &s.Messages.Enqueue }),
	"merge-conflict-message": text(func(s *pipeline.Settings) *string { return &s.Messages.MergeConflict }),
	"no-jobs-message":        text(func(s *pipeline.Settings) *string { return &s.Messages.NoJobs }),
	"dequeue-message":        text(func(s *pipeline.Settings) *string { return &s.Messages.Dequeue }),
	"footer-message":         text(func(s *pipeline.Settings) *string { return &s.Messages.Footer }),

	"disable-after-consecutive-failures": number(1, func(s *pipeline.Settings) *int { return &s.DisableAfter }),

	"window":                 number(0, func(s *pipeline.Settings) *int { return &s.Window.Size }),
	"window-floor":           number(1, func(s *pipeline.Settings) *int { return &s.Window.Floor }),
	"window-ceiling":         number(1, func(s *pipeline.Settings) *int { return &s.Window.Ceiling }),
	"window-increase-type":   growth(func(s *pipeline.Settings) *string { return &s.Window.IncreaseType }),
	"window-increase-factor": number(1, func(s *pipeline.Settings) *int { return &s.Window.IncreaseFactor }),
	"window-decrease-type":   growth(func(s *pipeline.Settings) *string { return &s.Window.DecreaseType }),
	"window-decrease-factor": number(1, func(s *pipeline.Settings) *int { return &s.Window.DecreaseFactor }),
}

// connections calls use for each connection of a dictionary, with its driver.
func (r *reader) connections(v *node, list *[]ConnectionUse, use func(name, driver string, v *node)) {
	if v.kind != kindMap {
		r.expected("a dictionary of connections", v)
		return
	}
	outer := r.at
	for _, q := range v.pairs {
		r.at = q.span()
		driver, ok := r.opts.driver(q.name)
		if !ok {
			names := []string{"timer", "zuul"}
			for n := range r.opts.Connections {
				names = append(names, n)
			}
			r.hint(Suggest(q.name, names))
			r.fail(NameUnknownConnection, "Unknown connection named %q", q.name)
			continue
		}
		if list != nil {
			*list = append(*list, ConnectionUse{q.name, r.at})
		}
		use(q.name, driver, q.val)
	}
	r.at = outer
}

func (r *reader) triggers(p *Pipeline, v *node) {
	r.connections(v, &p.Triggers, func(name, driver string, v *node) {
		d := driverFor(driver)
		if d.trigger == nil {
			r.fail(NameUnknown, "the connection %q (driver %s) has no triggers", name, driver)
			return
		}
		p.Settings.Connections = append(p.Settings.Connections, name)
		for _, i := range items(v) {
			p.Settings.Triggers = append(p.Settings.Triggers, d.trigger(r, name, driver, i)...)
		}
	})
}

func (r *reader) requirements(p *Pipeline, v *node, reject bool) {
	r.connections(v, nil, func(name, driver string, v *node) {
		d := driverFor(driver)
		if d.require == nil {
			r.fail(NameUnknown, "the connection %q (driver %s) has no requirements", name, driver)
			return
		}
		p.Settings.Connections = append(p.Settings.Connections, name)
		for _, i := range items(v) {
			f := change.Filter{Connection: name, Reject: reject}
			d.require(r, &f, i)
			p.Settings.Requirements = append(p.Settings.Requirements, f)
		}
	})
}

func (r *reader) reporters(p *Pipeline, v *node) []pipeline.Reporter {
	out := []pipeline.Reporter{}
	r.connections(v, &p.Reporters, func(name, driver string, v *node) {
		d := driverFor(driver)
		if d.report == nil {
			r.fail(NameUnknown, "the connection %q (driver %s) has no reporter", name, driver)
			return
		}
		p.Settings.Connections = append(p.Settings.Connections, name)
		for _, i := range items(v) {
			rep := pipeline.Reporter{Connection: name, Driver: driver}
			if i.kind == kindMap {
				rep.Options = i.plain().(map[string]any)
			}
			if i.kind != kindNull {
				d.report(r, &rep, i)
			}
			out = append(out, rep)
		}
	})
	return out
}

// timerFields checks a timer's time: five fields of cron, then seconds and jitter. One that cannot be read is no error:
// Zuul loads it as well.
func (r *reader) timerFields(s string) {
	if _, err := event.ParseSchedule(s); err != nil {
		r.hint("fields: minute, hour, day, month, day of week (Monday is 0); they may be followed by seconds and by jitter in seconds")
		r.remark(NameTimer, "%v; this time never comes", err)
	}
}
