package layout

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
)

// checkNodesets checks that the alternatives of nodesets exist and end.
func (l *Layout) checkNodesets(files []placed) {
	each(l, files, "nodeset", func(f *placed) []*config.Nodeset { return f.Nodesets }, func(f *placed, n *config.Nodeset) {
		if n.Alternatives == nil {
			return
		}
		if _, err := l.flatten(config.NodesetUse{Inline: n}, map[string]bool{n.Name: true}); err != nil {
			l.reportHint(f.File, "nodeset", n.Name, n.At("alternatives"), err.name, err.hint, "%s", err.text)
		}
	})
}

// refError is why a reference leads nowhere, and what may be meant.
type refError struct{ name, text, hint string }

// flatten lists the nodesets that are tried in order, alternatives depth first. A nodeset that appears
// twice is taken for a cycle, as in Zuul.
func (l *Layout) flatten(use config.NodesetUse, seen map[string]bool) ([]job.Nodeset, *refError) {
	n, name := use.Inline, use.Name
	if n == nil {
		d := l.nodesets[name]
		if d == nil {
			return nil, &refError{config.NameNodesetNotFound, fmt.Sprintf("The nodeset %q was not found", name), config.Suggest(name, slices.Collect(maps.Keys(l.nodesets)))}
		}
		if seen[name] {
			return nil, &refError{config.NameUnknown, fmt.Sprintf("Nodeset cycle detected on %q", name), ""}
		}
		n = d.decl
		if seen != nil {
			seen[name] = true
		}
	}
	if n.Alternatives == nil {
		return []job.Nodeset{{Name: name, Nodes: n.Nodes, Groups: n.Groups}}, nil
	}
	if seen == nil {
		seen = map[string]bool{name: true}
	}
	var out []job.Nodeset
	for _, a := range n.Alternatives {
		more, err := l.flatten(a, seen)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// checkJobs checks what top-level definitions refer to. A definition with a dead reference stays: what
// it lacks is told again when it is frozen.
func (l *Layout) checkJobs() {
	for _, name := range l.jobNames {
		for _, v := range l.jobs[name].variants {
			l.checkReferences(v, "job")
			l.checkParent(v)
		}
	}
	l.checkCycles()
	l.remarkOrphans()
}

// remarkOrphans tells of jobs that rely on the tenant's default parent where that is not defined: at the first of them.
func (l *Layout) remarkOrphans() {
	parent := l.tenant.DefaultParent
	if l.jobs[parent] != nil || parent == "" {
		return
	}
	var first *Variant
	n := 0
	for _, name := range l.jobNames {
		if v := l.jobs[name].variants[0]; !v.Parent.Set {
			if n++; first == nil {
				first = v
			}
		}
	}
	if first == nil {
		return
	}
	whose := "job " + first.Name
	if n > 1 {
		whose = fmt.Sprintf("job %s and %d more that name no parent", first.Name, n-1)
	}
	p := first.File.Problem("job", first.Name, first.Span, config.NameJobNotFound,
		fmt.Sprintf("Job %s not defined, the default parent of the tenant: without it %s cannot run", parent, whose))
	p.Severity, p.Hint = config.Warning, "name another parent, or define it in a config project"
	l.remarks = append(l.remarks, p.In(first.File.Source))
}

// checkCycles finds jobs that are their own ancestors: on all branches, or on the one of the files that define them.
// What only regular expressions of branches bring about is told when a job is frozen on such a branch.
func (l *Layout) checkCycles() {
	if !slices.ContainsFunc(l.jobNames, func(name string) bool { return l.circular(l.jobs[name]) }) {
		return
	}
	type place struct{ name, branch string }
	const onTheWay, done = 1, 2
	state := map[place]int{}
	var visit func(at place, way []string)
	visit = func(at place, way []string) {
		d := l.jobs[at.name]
		if d == nil || state[at] == done {
			return
		}
		state[at] = onTheWay
		way = append(slices.Clip(way), at.name)
		for _, v := range d.variants {
			parent := place{v.Parent.Value, at.branch}
			if branch, plain := v.onBranch(); parent.name == "" || !plain || branch != "" && branch != at.branch {
				continue
			}
			if state[parent] == onTheWay {
				cycle := append(slices.Clip(way[slices.Index(way, parent.name):]), parent.name)
				l.report(v.File, "job", v.Name, v.At("parent"), config.NameJobGraph, "Job inheritance cycle: %s", strings.Join(cycle, " -> "))
				continue
			}
			visit(parent, way)
		}
		state[at] = done
	}
	for _, name := range l.jobNames {
		for _, v := range l.jobs[name].variants {
			if branch, plain := v.onBranch(); plain {
				visit(place{name, branch}, nil)
			}
		}
	}
}

// circular tells whether the parents of a job, whatever their branches, lead back to one of them. It is quick where
// they do not, and asks no job twice.
func (l *Layout) circular(d *definitions) bool {
	if d == nil || d.visit == visited {
		return false
	}
	if d.visit == visiting {
		return true
	}
	d.visit = visiting
	last := ""
	for _, v := range d.variants {
		if p := v.Parent.Value; p != "" && p != last && l.circular(l.jobs[p]) {
			return true
		}
		last = v.Parent.Value
	}
	d.visit = visited
	return false
}

// onBranch is the one branch that a definition holds for by itself; empty, where it holds for all. Not plain: regular
// expressions tell.
func (v *Variant) onBranch() (branch string, plain bool) {
	switch {
	case len(v.Branches) == 0:
		return "", true
	case len(v.Branches) == 1 && v.Branches[0].Exact && !v.Branches[0].Negate:
		return v.Branches[0].Regex, true
	}
	return "", false
}

func (l *Layout) checkReferences(v *Variant, kind string) {
	l.checkSecrets(v, kind)
	if v.Nodeset.Set {
		all, err := l.flatten(v.Nodeset.Value, nil)
		if err != nil {
			l.reportHint(v.File, kind, stanzaName(kind, v.Job), v.At("nodeset"), err.name, err.hint, "%s", err.text)
		}
		l.checkNodes(v, kind, all)
	}
	for _, d := range v.Dependencies.Value {
		l.checkJobName(v, kind, "dependencies", d.Name)
	}
}

// checkNodes holds the tenant's bound of nodes against the nodesets of a job.
func (l *Layout) checkNodes(v *Variant, kind string, all []job.Nodeset) {
	most := l.tenant.MaxNodesPerJob
	for _, n := range all {
		if most >= 0 && len(n.Nodes) > most {
			l.report(v.File, kind, stanzaName(kind, v.Job), v.At("nodeset"), config.NameMaxNodes,
				"The job %q exceeds tenant max-nodes-per-job %d: it has %d nodes", v.Name, most, len(n.Nodes))
			return
		}
	}
}

func (l *Layout) checkJobName(v *Variant, kind, attr, name string) bool {
	if d := l.jobs[name]; d != nil && len(d.variants) > 0 {
		return true
	}
	p := v.File.Problem(kind, stanzaName(kind, v.Job), v.At(attr), config.NameJobNotFound, fmt.Sprintf("Job %s not defined", name))
	if p.Hint = config.Suggest(name, l.jobNames); p.Hint != "" {
		p = p.In(v.File.Source)
	}
	l.Problems = append(l.Problems, p)
	return false
}

// checkParent finds parents that no variant can have, before anybody freezes the job.
func (l *Layout) checkParent(v *Variant) {
	parent := v.Parent.Value
	if parent == "" || !l.checkJobName(v, "job", "parent", parent) {
		return
	}
	fail := func(format string, args ...any) {
		l.report(v.File, "job", v.Name, v.At("parent"), config.NameUnknown, format, args...)
	}
	for _, p := range l.jobs[parent].variants {
		switch {
		case p.Final.Value:
			fail("The parent of job %s, %s, is final and can not act as a parent", v.Name, parent)
			return
		case p.Protected.Value && p.project != v.project:
			fail("The parent of job %s, %s, is a protected job in a different project, %s", v.Name, parent, p.project.name)
			return
		case p.Intermediate.Value && !v.Abstract.Value:
			fail("The parent of job %s, %s, is intermediate, but %s is not abstract", v.Name, parent, v.Name)
			return
		}
	}
}

// checkSecrets tells of secrets that are not there or cannot be opened. The job stays: it cannot be frozen as long
// as it names a secret that is not there.
func (l *Layout) checkSecrets(v *Variant, kind string) {
	j, f := v.Job, v.File
	for _, s := range j.Secrets.Value {
		d := l.secrets[s.Secret]
		if d == nil || d.origin != v.project {
			more := ""
			if d != nil {
				more = fmt.Sprintf(" in %s (the one of that name in %s is for jobs of that project only)", v.project.name, d.origin.name)
			}
			l.reportHint(f, kind, stanzaName(kind, j), j.At("secrets"), config.NameSecretNotFound, config.Suggest(s.Secret, l.secretsOf(v.project)),
				"The secret %q was not found%s", s.Secret, more)
			continue
		}
		if why := l.in.Sealed[SecretID{v.project.canon, d.decl}]; why != "" {
			l.reportHint(f, kind, stanzaName(kind, j), j.At("secrets"), config.NameSecretDecryption,
				"encrypt it again with the project's present key (gozer secret encrypt), or import the key that it was encrypted with (gozer keys import)",
				"The secret %q cannot be decrypted: %s", s.Secret, why)
		}
	}
}

// secretsOf are the names of a project's secrets.
func (l *Layout) secretsOf(p *project) []string {
	var out []string
	for name, d := range l.secrets {
		if d.origin == p {
			out = append(out, name)
		}
	}
	return out
}
