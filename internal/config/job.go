package config

import (
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

func (r *reader) job(v *node) *Job {
	j := &Job{}
	j.header(v)
	read(r, j, v, jobAttrs, nil)
	r.required(&j.Object, "name")
	r.checkJob(j)
	return j
}

// variant is a job in a project-pipeline: its name is the key, and it has no name attribute.
func (r *reader) variant(name string, v *node) *Job {
	j := &Job{}
	j.header(v)
	j.Name = name
	if v.child("name") != nil {
		r.fail(NameSyntax, "extra keys not allowed: %q cannot be set in a project's job list", "name")
	}
	read(r, j, v, jobAttrs, nil)
	j.Name = name
	r.checkJob(j)
	return j
}

// checkJob holds the rules between attributes of one definition.
func (r *reader) checkJob(j *Job) {
	if j.Intermediate.Value && !j.Abstract.Value {
		r.at = j.At("intermediate")
		r.fail(NameUnknown, "An intermediate job must also be abstract")
	}
	for _, list := range [][]Playbook{j.PreRun.Value, j.Run.Value, j.PostRun.Value, j.CleanupRun.Value} {
		for _, pb := range list {
			for _, s := range j.Semaphores.Value {
				if slices.Contains(pb.Semaphores, s.Name) {
					r.at = j.At("semaphores")
					r.fail(NameUnknown, "the semaphore %q is used by the job and by its playbook %s", s.Name, pb.Path)
				}
			}
		}
	}
}

func strAttr(f func(*Job) *Setting[string]) func(*reader, *Job, *node) {
	return func(r *reader, j *Job, v *node) { *f(j) = set(v, r.str(v)) }
}

func boolAttr(f func(*Job) *Setting[bool]) func(*reader, *Job, *node) {
	return func(r *reader, j *Job, v *node) { *f(j) = set(v, r.boolean(v)) }
}

func patternsAttr(f func(*Job) *Setting[[]change.Pattern]) func(*reader, *Job, *node) {
	return func(r *reader, j *Job, v *node) { *f(j) = set(v, r.regexes(v)) }
}

func varsAttr(f func(*Job) *Setting[map[string]any]) func(*reader, *Job, *node) {
	return func(r *reader, j *Job, v *node) { *f(j) = set(v, r.vars(v, reservedVars)) }
}

// listAttr is a set of strings: an empty one counts as absent, unless a tag is on it.
func listAttr(f func(*Job) *Setting[[]string]) func(*reader, *Job, *node) {
	return func(r *reader, j *Job, v *node) {
		list := r.strs(v)
		if len(list) > 0 || v.mode != Default {
			*f(j) = set(v, list)
		}
	}
}

func playbooksAttr(cleanup bool, f func(*Job) *Setting[[]Playbook]) func(*reader, *Job, *node) {
	return func(r *reader, j *Job, v *node) { *f(j) = set(v, r.playbooks(v, cleanup)) }
}

func ignored(*reader, *Job, *node) {}

var jobAttrs = attributes[Job]{
	"name": func(r *reader, j *Job, v *node) { j.Name = r.str(v) },
	"parent": func(r *reader, j *Job, v *node) {
		if v.kind == kindNull {
			j.Parent = set(v, "")
			return
		}
		j.Parent = set(v, r.str(v))
	},
	"description":            strAttr(func(j *Job) *Setting[string] { return &j.Description }),
	"variant-description":    strAttr(func(j *Job) *Setting[string] { return &j.VariantDescription }),
	"final":                  boolAttr(func(j *Job) *Setting[bool] { return &j.Final }),
	"protected":              boolAttr(func(j *Job) *Setting[bool] { return &j.Protected }),
	"abstract":               boolAttr(func(j *Job) *Setting[bool] { return &j.Abstract }),
	"intermediate":           boolAttr(func(j *Job) *Setting[bool] { return &j.Intermediate }),
	"attribute-control":      func(r *reader, j *Job, v *node) { j.Control = set(v, r.control(v)) },
	"success-message":        strAttr(func(j *Job) *Setting[string] { return &j.SuccessMessage }),
	"failure-message":        strAttr(func(j *Job) *Setting[string] { return &j.FailureMessage }),
	"success-url":            ignored,
	"failure-url":            ignored,
	"hold-following-changes": boolAttr(func(j *Job) *Setting[bool] { return &j.HoldFollowingChanges }),
	"voting":                 boolAttr(func(j *Job) *Setting[bool] { return &j.Voting }),
	"semaphore":              func(r *reader, j *Job, v *node) { r.jobSemaphores(j, v) },
	"semaphores":             func(r *reader, j *Job, v *node) { r.jobSemaphores(j, v) },
	"tags":                   listAttr(func(j *Job) *Setting[[]string] { return &j.Tags }),
	"provides":               listAttr(func(j *Job) *Setting[[]string] { return &j.Provides }),
	"requires":               listAttr(func(j *Job) *Setting[[]string] { return &j.Requires }),
	"secrets":                func(r *reader, j *Job, v *node) { j.Secrets = set(v, r.secretUses(v)) },
	"nodeset":                func(r *reader, j *Job, v *node) { j.Nodeset = set(v, r.nodesetUse(v)) },
	"override-checkout":      strAttr(func(j *Job) *Setting[string] { return &j.OverrideCheckout }),
	"override-branch":        strAttr(func(j *Job) *Setting[string] { return &j.OverrideBranch }),
	"timeout":                func(r *reader, j *Job, v *node) { j.Timeout = set(v, r.integer(v)) },
	"post-timeout":           func(r *reader, j *Job, v *node) { j.PostTimeout = set(v, r.integer(v)) },
	"attempts":               func(r *reader, j *Job, v *node) { j.Attempts = set(v, r.integer(v)) },
	"pre-run":                playbooksAttr(false, func(j *Job) *Setting[[]Playbook] { return &j.PreRun }),
	"run":                    playbooksAttr(false, func(j *Job) *Setting[[]Playbook] { return &j.Run }),
	"post-run":               playbooksAttr(true, func(j *Job) *Setting[[]Playbook] { return &j.PostRun }),
	"cleanup-run": func(r *reader, j *Job, v *node) {
		j.CleanupRun = set(v, r.playbooks(v, false))
		r.hint("use post-run with cleanup: true")
		r.warn(NameCleanupDeprecation, "the attribute cleanup-run is deprecated")
	},
	"ansible-split-streams": boolAttr(func(j *Job) *Setting[bool] { return &j.SplitStreams }),
	"ansible-version":       func(r *reader, j *Job, v *node) { j.AnsibleVersion = set(v, r.ansibleVersion(v)) },
	"roles":                 func(r *reader, j *Job, v *node) { j.Roles = set(v, r.roles(v)) },
	"required-projects":     func(r *reader, j *Job, v *node) { j.RequiredProjects = set(v, r.requiredProjects(v)) },
	"vars":                  varsAttr(func(j *Job) *Setting[map[string]any] { return &j.Vars }),
	"extra-vars":            varsAttr(func(j *Job) *Setting[map[string]any] { return &j.ExtraVars }),
	"host-vars":             func(r *reader, j *Job, v *node) { j.HostVars = set(v, r.varsOf(v)) },
	"group-vars":            func(r *reader, j *Job, v *node) { j.GroupVars = set(v, r.varsOf(v)) },
	"include-vars":          func(r *reader, j *Job, v *node) { j.IncludeVars = set(v, r.includeVars(v)) },
	"dependencies":          func(r *reader, j *Job, v *node) { j.Dependencies = set(v, r.dependencies(v)) },
	"allowed-projects":      listAttr(func(j *Job) *Setting[[]string] { return &j.AllowedProjects }),
	"post-review": func(r *reader, j *Job, v *node) {
		j.PostReview = set(v, r.boolean(v))
		if v.kind == kindBool && v.num == 0 {
			r.fail(NameUnknown, "Once set, the post-review attribute may not be unset: only true is allowed")
		}
	},
	"branches":                patternsAttr(func(j *Job) *Setting[[]change.Pattern] { return &j.Branches }),
	"files":                   patternsAttr(func(j *Job) *Setting[[]change.Pattern] { return &j.Files }),
	"irrelevant-files":        patternsAttr(func(j *Job) *Setting[[]change.Pattern] { return &j.IrrelevantFiles }),
	"match-on-config-updates": boolAttr(func(j *Job) *Setting[bool] { return &j.MatchOnConfigUpdates }),
	"deduplicate":             func(r *reader, j *Job, v *node) { j.Deduplicate = set(v, r.boolOrAuto(v)) },
	"failure-output":          func(r *reader, j *Job, v *node) { j.FailureOutput = set(v, r.failureOutput(v)) },
	"workspace-scheme": func(r *reader, j *Job, v *node) {
		j.WorkspaceScheme = set(v, r.oneOf(v, "golang", "flat", "unique"))
	},
	"workspace-checkout": func(r *reader, j *Job, v *node) { j.WorkspaceCheckout = set(v, r.boolOrAuto(v)) },
	"image-build-name":   strAttr(func(j *Job) *Setting[string] { return &j.ImageBuildName }),
}

// boolOrAuto is "true", "false" or "auto".
func (r *reader) boolOrAuto(v *node) string {
	if v.kind == kindBool {
		if v.num == 1 {
			return "true"
		}
		return "false"
	}
	return r.oneOf(v, "auto")
}

// AnsibleVersions are the versions that jobs may ask for.
var ansibleVersions = []string{"8", "9"}

func (r *reader) ansibleVersion(v *node) string {
	s := r.scalar(v)
	if s != "" && !slices.Contains(ansibleVersions, s) {
		r.fail(NameUnknown, "Ansible version %q is not supported; known: %s", s, strings.Join(ansibleVersions, ", "))
	}
	return s
}

// controllable are the attributes that attribute-control can make final.
var controllable = []string{"requires", "provides", "tags", "files", "irrelevant-files", "required-projects",
	"vars", "extra-vars", "host-vars", "group-vars", "include-vars", "dependencies", "failure-output"}

func (r *reader) control(v *node) []string {
	var out []string
	if v.kind != kindMap {
		r.expected("a dictionary", v)
		return nil
	}
	for _, p := range v.pairs {
		at := r.at
		r.at = p.span()
		if !slices.Contains(controllable, p.name) {
			r.hint(Suggest(p.name, controllable))
			r.fail(NameSyntax, "extra keys not allowed: %q cannot be controlled", p.name)
		}
		final := false
		read(r, &final, p.val, attributes[bool]{
			"final": func(r *reader, b *bool, v *node) { *b = r.boolean(v) },
		}, nil)
		if final {
			out = append(out, p.name)
		}
		r.at = at
	}
	return out
}

func (r *reader) jobSemaphores(j *Job, v *node) {
	list := j.Semaphores.Value
	for _, i := range items(v) {
		s := job.Semaphore{}
		if i.kind == kindString {
			s.Name = i.text
		} else {
			read(r, &s, i, attributes[job.Semaphore]{
				"name":            func(r *reader, s *job.Semaphore, v *node) { s.Name = r.str(v) },
				"resources-first": func(r *reader, s *job.Semaphore, v *node) { s.ResourcesFirst = r.boolean(v) },
			}, nil)
			if s.Name == "" {
				r.fail(NameSyntax, "required key not provided: %q", "name")
			}
		}
		list = append(list, s)
	}
	j.Semaphores = set(v, list)
}

func (r *reader) secretUses(v *node) []SecretUse {
	var out []SecretUse
	for _, i := range items(v) {
		s := SecretUse{}
		if i.kind == kindString {
			s = SecretUse{Var: i.text, Secret: i.text}
		} else {
			read(r, &s, i, attributes[SecretUse]{
				"name":           func(r *reader, s *SecretUse, v *node) { s.Var = r.str(v) },
				"secret":         func(r *reader, s *SecretUse, v *node) { s.Secret = r.str(v) },
				"pass-to-parent": func(r *reader, s *SecretUse, v *node) { s.PassToParent = r.boolean(v) },
			}, nil)
			if i.kind == kindMap && (i.child("name") == nil || i.child("secret") == nil) {
				r.fail(NameSyntax, "required key not provided: a secret in this form needs name and secret")
				continue
			}
		}
		// A name in the short form is not checked, as in Zuul: secrets named with dashes load, although
		// no template can refer to them.
		switch {
		case slices.Contains(reservedVars, s.Var):
			r.fail(NameSyntax, "Ansible variable name %s is reserved", quote(s.Var))
		case i.kind == kindMap && s.Var != "" && !ansibleVar.MatchString(s.Var):
			r.fail(NameSyntax, "Ansible variable name %s is not valid", quote(s.Var))
		}
		out = append(out, s)
	}
	return out
}

func (r *reader) playbooks(v *node, cleanup bool) []Playbook {
	var out []Playbook
	for _, i := range items(v) {
		pb := Playbook{}
		if i.kind == kindString {
			pb.Path = i.text
		} else {
			table := attributes[Playbook]{
				"name":       func(r *reader, p *Playbook, v *node) { p.Path = r.str(v) },
				"semaphores": func(r *reader, p *Playbook, v *node) { p.Semaphores = slices.Sorted(slices.Values(r.strs(v))) },
			}
			if cleanup {
				table["cleanup"] = func(r *reader, p *Playbook, v *node) { p.Cleanup = r.boolean(v) }
			}
			read(r, &pb, i, table, nil)
			if i.kind == kindMap && i.child("name") == nil {
				r.fail(NameSyntax, "required key not provided: %q", "name")
			}
		}
		out = append(out, pb)
	}
	return out
}

func (r *reader) roles(v *node) []Role {
	var out []Role
	for _, i := range items(v) {
		role, galaxy := Role{}, false
		read(r, &role, i, attributes[Role]{
			"zuul":   func(r *reader, o *Role, v *node) { o.Project = r.str(v) },
			"galaxy": func(r *reader, o *Role, v *node) { r.str(v); galaxy = true },
			"name":   func(r *reader, o *Role, v *node) { o.Alias = r.str(v) },
		}, nil)
		switch {
		case i.kind != kindMap:
		case role.Project != "":
			out = append(out, role)
		case !galaxy:
			r.fail(NameSyntax, "required key not provided: a role needs zuul or galaxy")
		}
	}
	return out
}

func (r *reader) requiredProjects(v *node) []RequiredProject {
	out := make([]RequiredProject, 0, len(items(v)))
	for _, i := range items(v) {
		p := RequiredProject{}
		if i.kind == kindString {
			p.Project = i.text
		} else {
			read(r, &p, i, attributes[RequiredProject]{
				"name":              func(r *reader, p *RequiredProject, v *node) { p.Project = r.str(v) },
				"override-checkout": func(r *reader, p *RequiredProject, v *node) { p.OverrideCheckout = r.str(v) },
				"override-branch":   func(r *reader, p *RequiredProject, v *node) { p.OverrideBranch = r.str(v) },
			}, nil)
			if i.kind == kindMap && i.child("name") == nil {
				r.fail(NameSyntax, "required key not provided: %q", "name")
			}
		}
		out = append(out, p)
	}
	return out
}

func (r *reader) includeVars(v *node) []IncludeVars {
	out := make([]IncludeVars, 0, len(items(v)))
	for _, i := range items(v) {
		iv := IncludeVars{Required: true, UseRef: true}
		if i.kind == kindString {
			iv.Path = i.text
		} else {
			useRef := false
			read(r, &iv, i, attributes[IncludeVars]{
				"name":         func(r *reader, o *IncludeVars, v *node) { o.Path = r.str(v) },
				"project":      func(r *reader, o *IncludeVars, v *node) { o.Project = r.str(v) },
				"zuul-project": func(r *reader, o *IncludeVars, v *node) { o.ZuulProject = r.boolean(v) },
				"use-ref":      func(r *reader, o *IncludeVars, v *node) { o.UseRef, useRef = r.boolean(v), true },
				"required":     func(r *reader, o *IncludeVars, v *node) { o.Required = r.boolean(v) },
			}, nil)
			switch {
			case i.kind != kindMap:
			case i.child("name") == nil:
				r.fail(NameSyntax, "required key not provided: %q", "name")
			case iv.Project != "" && iv.ZuulProject:
				r.fail(NameSyntax, "extra keys not allowed: project and zuul-project exclude each other")
			case iv.Project != "" && useRef:
				r.fail(NameSyntax, "extra keys not allowed: use-ref is for the job's own project and for zuul-project")
			}
		}
		out = append(out, iv)
	}
	return out
}

func (r *reader) dependencies(v *node) []Dependency {
	out := make([]Dependency, 0, len(items(v)))
	for _, i := range items(v) {
		d := Dependency{}
		if i.kind == kindString {
			d.Name = i.text
		} else {
			read(r, &d, i, attributes[Dependency]{
				"name": func(r *reader, d *Dependency, v *node) { d.Name = r.str(v) },
				"soft": func(r *reader, d *Dependency, v *node) { d.Soft = r.boolean(v) },
			}, nil)
			if i.kind == kindMap && i.child("name") == nil {
				r.fail(NameSyntax, "required key not provided: %q", "name")
			}
		}
		out = append(out, d)
	}
	return out
}

func (r *reader) failureOutput(v *node) []string {
	list := r.strs(v)
	for _, s := range list {
		if p, err := change.Compile(s, false); err != nil || p.Perl {
			r.fail(NameSyntax, "the regular expression %q is not in the RE2 dialect, which failure-output needs", s)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(list)))
}
