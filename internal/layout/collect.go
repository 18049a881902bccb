package layout

import (
	"fmt"
	"maps"
	"slices"

	"github.com/gozer-ci/gozer/internal/change"
)

// overrides are checkouts that replace the change's branch when variants are chosen: by canonical
// project name, the empty name for all projects.
type overrides map[string]string

func (l *Layout) noteOverrides(o overrides, v *Variant) {
	if v.OverrideCheckout.Value != "" {
		o[""] = v.OverrideCheckout.Value
	}
	for _, r := range v.RequiredProjects.Value {
		if p := l.names[r.Project]; p != nil && r.OverrideCheckout != "" {
			o[p.canon] = r.OverrideCheckout
		}
	}
}

// collector gathers the definitions of a job and its ancestors, base first.
type collector struct {
	l       *Layout
	change  *change.Change
	found   []*Variant
	visited map[string]bool
	say     *remarks
}

// collect adds the definitions of one name, each after those of its parent. Not matched: the name, or
// an ancestor, has none that holds for the change, or none at all, which is an error of the layout and none of
// the change.
func (w *collector) collect(name string, outer overrides, stack []string) (matched bool, err *freezeError) {
	d := w.l.jobs[name]
	if d == nil || len(d.variants) == 0 {
		w.say.add("  Job %s is not defined", name)
		return false, nil
	}
	if w.visited == nil {
		w.visited = map[string]bool{}
	}
	w.visited[name] = true
	stack = append(slices.Clip(stack), name)
	local := maps.Clone(outer)
	for _, v := range d.variants {
		// What a variant overrides counts for its parents, not for its siblings.
		ok := matchesBranch(v.Branches, w.change, w.override(v, outer))
		w.say.variant("Job", v, w.change, ok)
		if !ok {
			continue
		}
		parent := v.Parent.Value
		if !v.Parent.Set && len(w.found) == 0 {
			parent = w.l.tenant.DefaultParent
		}
		w.l.noteOverrides(local, v)
		if parent != "" {
			if slices.Contains(stack, parent) {
				return false, &freezeError{v, "parent", fmt.Sprintf("Job inheritance cycle: %v", append(stack, parent))}
			}
			if !w.visited[parent] {
				ok, err := w.collect(parent, local, stack)
				if err != nil {
					return false, err.at(v, "parent")
				}
				if !ok {
					return false, nil
				}
			}
		}
		matched = true
		if !slices.ContainsFunc(w.found, func(o *Variant) bool { return sameVariant(o, v) }) {
			w.found = append(w.found, v)
		}
	}
	return matched, nil
}

func (e *freezeError) at(v *Variant, attr string) *freezeError {
	if e.variant == nil {
		e.variant, e.attr = v, attr
	}
	return e
}

// override is the branch that replaces the change's for a definition; empty, where none does. It counts
// only where the definition's project has that branch.
func (w *collector) override(v *Variant, o overrides) string {
	if v.project == nil {
		return ""
	}
	branch, ok := o[v.project.canon]
	if !ok {
		branch = o[""]
	}
	if branch != "" && v.project.hasBranch(branch) {
		return branch
	}
	return ""
}
