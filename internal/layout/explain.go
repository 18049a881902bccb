package layout

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
)

// Explanation is a frozen job with where each of its values comes from.
type Explanation struct {
	Job *job.Job `json:"job"`
	// Attributes are all that the job has, in the order of the language's reference.
	Attributes []Attribute `json:"attributes"`
	// Remarks tell what freezing left out, and Pending why the job may not run here.
	Remarks []string `json:"remarks,omitempty"`
	Pending string   `json:"pending,omitempty"`
}

// Attribute is one attribute of a frozen job.
type Attribute struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
	// From are the definitions that set it, in the order in which they were applied; none: it is the
	// default.
	From []Origin `json:"from,omitempty"`
}

// Origin is a definition that set an attribute.
type Origin struct {
	Job    string        `json:"job"`
	Source config.Source `json:"source"`
	Line   int           `json:"line"`
	// Attached: it stands in a project's pipeline.
	Attached bool `json:"attached,omitempty"`
	// Overridden: a later definition replaced the value.
	Overridden bool `json:"overridden,omitempty"`
}

// Explain freezes one job for a change. Nil with problems: it cannot be frozen, or nothing attaches it.
func (l *Layout) Explain(c *change.Change, pipeline, name string) (*Explanation, []config.Problem) {
	s, ok := l.section(c, pipeline)
	if !ok {
		return nil, []config.Problem{said("Project %s has no section for pipeline %s on branch %s", c.Project.Name, pipeline, c.Branch)}
	}
	if len(s.uses[name]) == 0 {
		p := said("Job %s is not in pipeline %s of project %s on branch %s", name, pipeline, c.Project.Name, c.Branch)
		p.Hint = config.Suggest(name, s.names)
		return nil, []config.Problem{p}
	}
	e := &Explanation{}
	f, err := l.freezeJob(c, name, s, func(format string, args ...any) { e.Remarks = append(e.Remarks, fmt.Sprintf(format, args...)) })
	if err != nil {
		return nil, []config.Problem{err.problem()}
	}
	if f == nil {
		return nil, []config.Problem{said("Job %s does not run on branch %s: %v", name, c.Branch, e.Remarks)}
	}
	settings := l.Pipeline(pipeline)
	if p := f.pending(c, settings != nil && settings.PostReview, pipeline); p != nil {
		e.Pending = p.text
	}
	f.ID, f.Refs = job.ID(name), []change.Key{c.Key()}
	for _, a := range attributes {
		if out, shown := a.explain(f); shown {
			e.Attributes = append(e.Attributes, out)
		}
	}
	e.Job = &f.Job
	return e, nil
}

func said(format string, args ...any) config.Problem {
	p := config.Problem{Severity: config.Error, Name: config.NameUnknown, Short: fmt.Sprintf(format, args...)}
	p.Text = p.Short
	return p
}

// attribute tells how one attribute is explained: where its value is, under which keys it is written,
// and how definitions combine.
type attribute struct {
	name  string
	keys  []string
	value func(f *frozen) any
	// mode is the tag on a definition's value, nil where it cannot have one; def, what it does without
	// a tag. Default: the value adds to the earlier ones, and no tag can change that.
	mode func(j *config.Job) config.Mode
	def  config.Mode
}

func (a attribute) explain(f *frozen) (Attribute, bool) {
	out := Attribute{Name: a.name, Value: a.value(f)}
	keys := append([]string{a.name}, a.keys...)
	for _, v := range f.variants {
		key := slices.IndexFunc(keys, func(k string) bool { return v.sets(k) })
		if key < 0 {
			continue
		}
		mode := a.def
		if a.mode != nil {
			mode = cmp.Or(a.mode(v.Job), a.def)
		}
		if mode == config.Override {
			for i := range out.From {
				out.From[i].Overridden = true
			}
		}
		out.From = append(out.From, Origin{Job: v.Name, Source: v.File.Source, Line: v.At(keys[key]).Line, Attached: v.Attached})
	}
	return out, len(out.From) > 0 || !empty(out.Value)
}

func (v *Variant) sets(key string) bool {
	return slices.ContainsFunc(v.Attrs, func(a config.Attr) bool { return a.Name == key })
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case int:
		return v == 0
	case float64:
		return v == 0
	case []string:
		return len(v) == 0
	}
	return sum(v) == sum(nil) || sum(v) == sum([]int{}) || sum(v) == sum(struct{}{})
}

// attributes in the order of the language's reference.
var attributes = []attribute{
	{name: "description", value: func(f *frozen) any { return f.Description }, def: config.Override},
	{name: "abstract", value: func(f *frozen) any { return f.abstract }},
	{name: "intermediate", value: func(f *frozen) any { return f.intermediate }},
	{name: "final", value: func(f *frozen) any { return f.final }},
	{name: "protected", value: func(f *frozen) any { return f.protectedBy != nil }},
	{name: "voting", value: func(f *frozen) any { return f.Voting }, def: config.Override},
	{name: "hold-following-changes", value: func(f *frozen) any { return f.HoldFollowingChanges }, def: config.Override},
	{name: "success-message", value: func(f *frozen) any { return f.SuccessMessage }, def: config.Override},
	{name: "failure-message", value: func(f *frozen) any { return f.FailureMessage }, def: config.Override},
	{name: "tags", value: func(f *frozen) any { return f.Tags }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.Tags.Mode }},
	{name: "provides", value: func(f *frozen) any { return f.Provides }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.Provides.Mode }},
	{name: "requires", value: func(f *frozen) any { return f.Requires }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.Requires.Mode }},
	{name: "dependencies", value: func(f *frozen) any { return f.deps }, def: config.Override, mode: func(j *config.Job) config.Mode { return j.Dependencies.Mode }},
	{name: "files", value: func(f *frozen) any { return f.files }, def: config.Override, mode: func(j *config.Job) config.Mode { return j.Files.Mode }},
	{name: "irrelevant-files", value: func(f *frozen) any { return f.irrelevant }, def: config.Override, mode: func(j *config.Job) config.Mode { return j.IrrelevantFiles.Mode }},
	{name: "match-on-config-updates", value: func(f *frozen) any { return f.matchConfig }, def: config.Override},
	{name: "deduplicate", value: func(f *frozen) any { return f.Deduplicate }, def: config.Override},
	{name: "allowed-projects", keys: []string{"secrets"}, value: func(f *frozen) any { return f.allowed }},
	{name: "post-review", keys: []string{"secrets"}, value: func(f *frozen) any { return f.PostReview }},
	{name: "semaphores", keys: []string{"semaphore"}, value: func(f *frozen) any { return f.Semaphores }},
	{name: "nodeset", value: func(f *frozen) any {
		if len(f.Alternatives) > 0 {
			return f.Alternatives
		}
		return f.Nodeset
	}, def: config.Override},
	{name: "override-checkout", value: func(f *frozen) any { return f.OverrideCheckout }, def: config.Override},
	{name: "timeout", value: func(f *frozen) any { return f.Timeout.Seconds() }, def: config.Override},
	{name: "post-timeout", value: func(f *frozen) any { return f.PostTimeout.Seconds() }, def: config.Override},
	{name: "attempts", value: func(f *frozen) any { return f.Attempts }, def: config.Override},
	{name: "roles", value: func(f *frozen) any { return f.roles }},
	{name: "pre-run", value: func(f *frozen) any { return f.PreRun }},
	{name: "run", value: func(f *frozen) any { return f.Run }, def: config.Override},
	{name: "post-run", keys: []string{"cleanup-run"}, value: func(f *frozen) any { return f.PostRun }},
	{name: "ansible-version", value: func(f *frozen) any { return f.AnsibleVersion }, def: config.Override},
	{name: "ansible-split-streams", value: func(f *frozen) any { return f.AnsibleSplitStreams }, def: config.Override},
	{name: "required-projects", value: func(f *frozen) any { return f.RequiredProjects }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.RequiredProjects.Mode }},
	{name: "vars", value: func(f *frozen) any { return f.Vars }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.Vars.Mode }},
	{name: "extra-vars", value: func(f *frozen) any { return f.ExtraVars }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.ExtraVars.Mode }},
	{name: "host-vars", value: func(f *frozen) any { return f.HostVars }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.HostVars.Mode }},
	{name: "group-vars", value: func(f *frozen) any { return f.GroupVars }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.GroupVars.Mode }},
	{name: "include-vars", value: func(f *frozen) any { return f.IncludeVars }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.IncludeVars.Mode }},
	{name: "failure-output", value: func(f *frozen) any { return f.FailureOutput }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.FailureOutput.Mode }},
	{name: "workspace-scheme", value: func(f *frozen) any { return f.WorkspaceScheme }, def: config.Override},
	{name: "workspace-checkout", value: func(f *frozen) any { return f.WorkspaceCheckout }, def: config.Override},
	{name: "image-build-name", value: func(f *frozen) any { return f.ImageBuildName }, def: config.Override},
}
