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
	// Keys tells of a dictionary of variables where each of its keys comes from, in the same way.
	Keys map[string][]Origin `json:"keys,omitempty"`
}

// Origin is a definition that set an attribute.
type Origin struct {
	Job    string        `json:"job"`
	Source config.Source `json:"source"`
	Line   int           `json:"line"`
	// Attached: it stands in a project's pipeline. Object is project or project-template, where the value is one of
	// the variables of those and not of a job; Job is then its name.
	Attached bool   `json:"attached,omitempty"`
	Object   string `json:"object,omitempty"`
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
	var say remarks
	f, err := l.freezeJob(c, name, s, &say)
	e.Remarks = say.leftOut()
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
		if out, shown := a.explain(f, s); shown {
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
	// dict is what a definition puts into a dictionary of variables, by key.
	dict func(j *config.Job) map[string]any
	// by tells whether one of the further keys really sets the attribute; nil: always.
	by func(v *Variant) bool
	// own: the value of the job's ancestors does not count.
	own bool
	// implied tells whether a definition that does not write it sets it all the same.
	implied func(v *Variant) bool
}

// untrustedSecrets: secrets of untrusted projects make a job post-review and bind it to its project.
func untrustedSecrets(v *Variant) bool { return !v.File.Source.Trusted }

// reviewedSecrets: so do, as to post-review, secrets that are handed to playbooks of untrusted projects.
func reviewedSecrets(v *Variant) bool {
	return untrustedSecrets(v) || slices.ContainsFunc(v.Secrets.Value, func(s config.SecretUse) bool { return s.PassToParent })
}

// ownRole: a top-level definition brings its repository as a role.
func ownRole(v *Variant) bool { return !v.Attached && v.project != nil }

// dicts is a dictionary of dictionaries as one of anything.
func dicts(m map[string]map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func (a attribute) explain(f *frozen, s *section) (Attribute, bool) {
	out := Attribute{Name: a.name, Value: a.value(f)}
	keys := append([]string{a.name}, a.keys...)
	if a.name == "vars" {
		for _, st := range s.varsOf {
			o := st.origin()
			out.From = append(out.From, o)
			out.note(o, st.Vars)
		}
	}
	for _, v := range f.variants {
		if a.own && v.Name != f.Name {
			continue
		}
		key := slices.IndexFunc(keys, func(k string) bool { return v.sets(k) })
		switch {
		case key < 0 && a.implied != nil && a.implied(v):
			key = 0
		case key < 0, key > 0 && a.by != nil && !a.by(v):
			continue
		}
		mode := a.def
		if a.mode != nil {
			mode = cmp.Or(a.mode(v.Job), a.def)
		}
		if mode == config.Override {
			out.override()
		}
		o := Origin{Job: v.Name, Source: v.File.Source, Line: v.At(keys[key]).Line, Attached: v.Attached}
		out.From = append(out.From, o)
		if a.dict != nil {
			out.note(o, a.dict(v.Job))
		}
	}
	return out, len(out.From) > 0 || !empty(out.Value)
}

// override marks all origins so far.
func (a *Attribute) override() {
	for i := range a.From {
		a.From[i].Overridden = true
	}
	a.Keys = nil
}

// note remembers where the keys of a dictionary come from.
func (a *Attribute) note(o Origin, dict map[string]any) {
	for k, v := range dict {
		if a.Keys == nil {
			a.Keys = map[string][]Origin{}
		}
		old := slices.Clone(a.Keys[k])
		if _, merges := v.(map[string]any); !merges {
			for i := range old {
				old[i].Overridden = true
			}
		}
		a.Keys[k] = append(old, o)
	}
}

// origin is the place of the variables of a stanza or template.
func (st *stanza) origin() Origin {
	o := Origin{Job: st.Name, Source: st.file.Source, Line: st.At("vars").Line, Object: "project"}
	if st.Template {
		o.Object = "project-template"
	}
	return o
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
	{name: "description", own: true, value: func(f *frozen) any { return f.Description }, def: config.Override},
	{name: "abstract", own: true, value: func(f *frozen) any { return f.abstract }},
	{name: "intermediate", own: true, value: func(f *frozen) any { return f.intermediate }},
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
	{name: "allowed-projects", keys: []string{"secrets"}, by: untrustedSecrets, value: func(f *frozen) any { return f.allowed }},
	{name: "post-review", keys: []string{"secrets"}, by: reviewedSecrets, value: func(f *frozen) any { return f.PostReview }},
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
	{name: "roles", implied: ownRole, value: func(f *frozen) any { return f.roles }},
	{name: "pre-run", value: func(f *frozen) any { return f.PreRun }},
	{name: "run", value: func(f *frozen) any { return f.Run }, def: config.Override},
	{name: "post-run", keys: []string{"cleanup-run"}, value: func(f *frozen) any { return f.PostRun }},
	{name: "ansible-version", value: func(f *frozen) any { return f.AnsibleVersion }, def: config.Override},
	{name: "ansible-split-streams", value: func(f *frozen) any { return f.AnsibleSplitStreams }, def: config.Override},
	{name: "required-projects", value: func(f *frozen) any { return f.RequiredProjects }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.RequiredProjects.Mode }},
	{name: "vars", dict: func(j *config.Job) map[string]any { return j.Vars.Value }, value: func(f *frozen) any { return f.Vars }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.Vars.Mode }},
	{name: "extra-vars", dict: func(j *config.Job) map[string]any { return j.ExtraVars.Value }, value: func(f *frozen) any { return f.ExtraVars }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.ExtraVars.Mode }},
	{name: "host-vars", dict: func(j *config.Job) map[string]any { return dicts(j.HostVars.Value) }, value: func(f *frozen) any { return dicts(f.HostVars) }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.HostVars.Mode }},
	{name: "group-vars", dict: func(j *config.Job) map[string]any { return dicts(j.GroupVars.Value) }, value: func(f *frozen) any { return dicts(f.GroupVars) }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.GroupVars.Mode }},
	{name: "include-vars", value: func(f *frozen) any { return f.IncludeVars }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.IncludeVars.Mode }},
	{name: "failure-output", value: func(f *frozen) any { return f.FailureOutput }, def: config.Inherit, mode: func(j *config.Job) config.Mode { return j.FailureOutput.Mode }},
	{name: "workspace-scheme", value: func(f *frozen) any { return f.WorkspaceScheme }, def: config.Override},
	{name: "workspace-checkout", value: func(f *frozen) any { return f.WorkspaceCheckout }, def: config.Override},
	{name: "image-build-name", value: func(f *frozen) any { return f.ImageBuildName }, def: config.Override},
}
