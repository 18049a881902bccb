package config

import (
	"github.com/gozer-ci/gozer/internal/change"
)

// MergeModes are the modes that a project may ask for.
var MergeModes = []string{"merge", "merge-resolve", "cherry-pick", "squash-merge", "rebase"}

// projectVars are the names that project variables may not have.
var projectVars = []string{"zuul", "nodepool", "unsafe_vars"}

var templateAttrs = attributes[Project]{
	"name":        func(r *reader, p *Project, v *node) { p.Name = r.str(v) },
	"description": func(r *reader, p *Project, v *node) { p.Description = r.str(v) },
	"queue":       func(r *reader, p *Project, v *node) { p.Queue = r.str(v) },
	"vars":        func(r *reader, p *Project, v *node) { p.Vars = r.vars(v, projectVars) },
}

var projectAttrs = attributes[Project]{
	"name":        templateAttrs["name"],
	"description": templateAttrs["description"],
	"queue":       templateAttrs["queue"],
	"vars":        templateAttrs["vars"],
	"templates": func(r *reader, p *Project, v *node) {
		if r.list(v) {
			p.Templates = r.strs(v)
		}
	},
	"branches":       func(r *reader, p *Project, v *node) { p.Branches = set(v, r.regexes(v)) },
	"default-branch": func(r *reader, p *Project, v *node) { p.DefaultBranch = r.str(v) },
	"merge-mode":     func(r *reader, p *Project, v *node) { p.MergeMode = r.oneOf(v, MergeModes...) },
}

func (r *reader) project(v *node) *Project {
	p := &Project{}
	p.header(v)
	read(r, p, v, projectAttrs, func(q pair) { r.projectPipeline(p, q, projectAttrs) })
	if p.Regular() {
		r.at = p.At("name")
		if c, err := change.Compile(p.Name, false); err != nil {
			r.fail(NameSyntax, "the regular expression %q is invalid: %v", p.Name, err)
		} else if c.Perl {
			r.warn(NameRegexDeprecation, "the regular expression %q is not in the RE2 dialect", p.Name)
		}
	}
	return p
}

func (r *reader) template(v *node) *Project {
	p := &Project{Template: true}
	p.header(v)
	read(r, p, v, templateAttrs, func(q pair) { r.projectPipeline(p, q, templateAttrs) })
	r.required(&p.Object, "name")
	return p
}

// projectPipeline reads an attribute that is none of the language: the name of a pipeline.
func (r *reader) projectPipeline(p *Project, q pair, table attributes[Project]) {
	pp := ProjectPipeline{Pipeline: q.name, Span: r.at}
	if q.val.kind != kindMap {
		names := make([]string, 0, len(table))
		for n := range table {
			names = append(names, n)
		}
		r.hint(Suggest(q.name, names))
		r.fail(NameSyntax, "expected a dictionary for dictionary value: %q must be a pipeline with its jobs, not %s", q.name, q.val.kind)
		return
	}
	read(r, &pp, q.val, attributes[ProjectPipeline]{
		"jobs": func(r *reader, pp *ProjectPipeline, v *node) {
			if !r.list(v) {
				return
			}
			for _, i := range v.list {
				if j := r.jobUse(i); j != nil {
					pp.Jobs = append(pp.Jobs, j)
				}
			}
		},
		"debug":     func(r *reader, pp *ProjectPipeline, v *node) { pp.Debug = r.boolean(v) },
		"fail-fast": func(r *reader, pp *ProjectPipeline, v *node) { pp.FailFast = set(v, r.boolean(v)) },
	}, nil)
	p.Pipelines = append(p.Pipelines, pp)
}

// jobUse is a job's name, or a dictionary of one name and the variant's attributes.
func (r *reader) jobUse(v *node) *Job {
	at := r.at
	defer func() { r.at = at }()
	r.at = v.span
	switch {
	case v.kind == kindString:
		return &Job{Object: Object{Name: v.text, Span: v.span}}
	case v.kind != kindMap:
		r.expected("str: a job is a name or a dictionary", v)
		return nil
	case len(v.pairs) != 1:
		r.fail(NameSyntax, "a job in this list is a name, or a dictionary with one key; are the attributes indented too little?")
		return nil
	}
	p := v.pairs[0]
	switch p.val.kind {
	case kindMap:
		body := *p.val
		body.span = v.span
		return r.variant(p.name, &body)
	case kindNull:
		r.hint("write the name without the colon, or attributes below it")
	}
	r.fail(NameSyntax, "expected str for dictionary value: the attributes of job %q must be a dictionary, not %s", p.name, p.val.kind)
	return nil
}
