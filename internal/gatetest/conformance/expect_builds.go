package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/gatetest"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/secret"
)

// buildWant is what is expected of a build; what is nil is not looked at.
type buildWant struct {
	At             *int                `yaml:"at,omitempty"`
	Job            *string             `yaml:"job,omitempty"`
	Result         *string             `yaml:"result,omitempty"`
	Changes        *[]string           `yaml:"changes,omitempty"`
	Change         *string             `yaml:"change,omitempty"`
	Ref            *string             `yaml:"ref,omitempty"`
	NewRev         *string             `yaml:"newrev,omitempty"`
	Branch         *string             `yaml:"branch,omitempty"`
	Project        *string             `yaml:"project,omitempty"`
	Pipeline       *string             `yaml:"pipeline,omitempty"`
	Node           *string             `yaml:"node,omitempty"`
	Paused         *bool               `yaml:"paused,omitempty"`
	Has            []string            `yaml:"has,omitempty"`
	Lacks          []string            `yaml:"lacks,omitempty"`
	Commits        map[string][]string `yaml:"commits,omitempty"`
	Timeout        *int                `yaml:"timeout,omitempty"`
	Playbooks      map[string][]string `yaml:"playbooks,omitempty"`
	PlaybookCounts map[string]int      `yaml:"playbook-counts,omitempty"`
	Vars           map[string]any      `yaml:"vars,omitempty"`
	Var            map[string]any      `yaml:"var,omitempty"`
	Zuul           map[string]any      `yaml:"zuul,omitempty"`
	ZuulHas        map[string]bool     `yaml:"zuul-has,omitempty"`
}

// names makes patch sets of the changes that a build is expected to have explicit.
func (w *world) names(ids []string) ([]string, error) {
	out := make([]string, len(ids))
	for i, id := range ids {
		full, err := w.full(id)
		if err != nil {
			return nil, err
		}
		out[i] = full
	}
	return out, nil
}

// changesOf are the changes of the items ahead and of a build's own, front first.
func (w *world) changesOf(b *gatetest.Build) []string {
	out := []string{}
	for _, c := range b.Changes {
		if c.IsChange() {
			out = append(out, w.name(c))
		}
	}
	return out
}

// own are the fields that come from the build's own change or ref.
type own struct{ change, ref, newRev, branch, project string }

func (w *world) own(b *gatetest.Build) own {
	c := b.Own()
	if c == nil {
		return own{}
	}
	o := own{ref: c.Ref, newRev: c.NewRev, branch: c.Branch, project: c.Project.Name}
	if c.IsChange() {
		o.change = w.name(c)
	}
	return o
}

// match gives the first field of a build that is not as expected.
func (w *world) match(ctx context.Context, want buildWant, b *gatetest.Build) error {
	o := w.own(b)
	if want.Changes != nil {
		list, err := w.names(*want.Changes)
		if err != nil {
			return err
		}
		want.Changes = &list
	}
	if want.Change != nil {
		full, err := w.full(*want.Change)
		if err != nil {
			return err
		}
		want.Change = &full
	}
	errs := []error{
		equal("job", want.Job, b.Job.Name), equal("result", want.Result, b.Result), equal("changes", want.Changes, w.changesOf(b)),
		equal("change", want.Change, o.change), equal("ref", want.Ref, o.ref), equal("newrev", want.NewRev, o.newRev),
		equal("branch", want.Branch, o.branch), equal("project", want.Project, o.project), equal("pipeline", want.Pipeline, b.Pipeline),
		equal("paused", want.Paused, b.Paused), equal("node", want.Node, label(b)), equal("timeout", want.Timeout, int(b.Job.Timeout.Seconds())),
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return errors.Join(w.workspace(ctx, want, b), playbooksOf(want, b), w.variables(ctx, want, b))
}

func label(b *gatetest.Build) string {
	var out []string
	for _, n := range b.Nodeset.Nodes {
		out = append(out, n.Label)
	}
	return strings.Join(out, " ")
}

func (w *world) workspace(ctx context.Context, want buildWant, b *gatetest.Build) error {
	for _, q := range []struct {
		key  string
		ids  []string
		want bool
	}{{"has", want.Has, true}, {"lacks", want.Lacks, false}} {
		for _, id := range q.ids {
			has, err := w.contains(id)
			if err != nil {
				return err
			}
			got, err := has(ctx, b)
			if err != nil {
				return err
			}
			if got != q.want {
				return difference(q.key, id, map[bool]string{true: "it is there", false: "it is not there"}[got])
			}
		}
	}
	return each(want.Commits, func(p string, list []string) error {
		got, _, err := w.sys.Builds.Log(ctx, b, p)
		if err != nil {
			return err
		}
		if !slices.Equal(got, list) {
			return difference("commits."+p, list, got)
		}
		return nil
	})
}

// phase gives the playbooks of a job's phase.
func phase(j *job.Job, name string) ([]job.Playbook, error) {
	switch name {
	case "pre-run":
		return j.PreRun, nil
	case "run":
		return j.Run, nil
	case "post-run":
		return j.PostRun, nil
	}
	return nil, fmt.Errorf("there is no phase %q", name)
}

func playbooksOf(want buildWant, b *gatetest.Build) error {
	err := each(want.Playbooks, func(name string, list []string) error {
		all, err := phase(b.Job, name)
		if err != nil {
			return err
		}
		var got []string
		for _, p := range all {
			got = append(got, p.Path)
		}
		if !slices.Equal(got, list) {
			return difference("playbooks."+name, list, got)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return each(want.PlaybookCounts, func(name string, n int) error {
		all, err := phase(b.Job, name)
		if err != nil {
			return err
		}
		return equal("playbook-counts."+name, &n, len(all))
	})
}

func (w *world) variables(ctx context.Context, want buildWant, b *gatetest.Build) error {
	if want.Vars != nil || want.Var != nil {
		vars, err := w.sys.Builds.Vars(ctx, b)
		if err != nil {
			return err
		}
		if want.Vars != nil && !sameJSON(want.Vars, vars) {
			return difference("vars", want.Vars, vars)
		}
		err = each(want.Var, func(name string, v any) error {
			if !sameJSON(v, vars[name]) {
				return difference("var."+name, v, vars[name])
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if want.Zuul == nil && want.ZuulHas == nil {
		return nil
	}
	zuul, err := plain(b.Zuul())
	if err != nil {
		return err
	}
	if err := part("zuul", want.Zuul, zuul); err != nil {
		return err
	}
	return each(want.ZuulHas, func(name string, has bool) error {
		_, got := zuul.(map[string]any)[name]
		return equal("zuul-has."+name, &has, got)
	})
}

// part tells where got lacks what want has: dictionaries are looked into, all else is compared whole.
func part(key string, want, got any) error {
	wm, ok := want.(map[string]any)
	gm, gok := got.(map[string]any)
	if !ok || !gok {
		if !sameJSON(want, got) {
			return difference(key, want, got)
		}
		return nil
	}
	return each(wm, func(k string, v any) error { return part(key+"."+k, v, gm[k]) })
}

// plain is a value as JSON has it.
func plain(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out any
	return out, json.Unmarshal(b, &out)
}

func sameJSON(a, b any) bool {
	x, err := plain(a)
	if err != nil {
		return false
	}
	y, err := plain(b)
	if err != nil {
		return false
	}
	p, perr := json.Marshal(x)
	q, qerr := json.Marshal(y)
	return perr == nil && qerr == nil && bytes.Equal(p, q)
}

// places compares builds at their places in a list.
func (w *world) places(ctx context.Context, key string, want []buildWant, got []*gatetest.Build) error {
	for _, x := range want {
		if x.At == nil {
			return fmt.Errorf("%s: an entry has no at", key)
		}
		b, err := at(got, *x.At)
		if err != nil {
			return within(key, err)
		}
		if err := within(fmt.Sprintf("%s[%d]", key, *x.At), w.match(ctx, x, b)); err != nil {
			return err
		}
	}
	return nil
}

// same compares a whole list.
func (w *world) same(ctx context.Context, key string, want *[]buildWant, got []*gatetest.Build, order string) error {
	if order != "" && order != "any" {
		return fmt.Errorf("%s-order: %q is not any", key, order)
	}
	if want == nil {
		return nil
	}
	shown := func() error { return difference(key, *want, w.show(got)) }
	if len(*want) != len(got) {
		return shown()
	}
	if order == "" {
		for i, x := range *want {
			if w.match(ctx, x, got[i]) != nil {
				return shown()
			}
		}
		return nil
	}
	left := slices.Clone(got)
	for _, x := range *want {
		i := slices.IndexFunc(left, func(b *gatetest.Build) bool { return w.match(ctx, x, b) == nil })
		if i < 0 {
			return shown()
		}
		left = slices.Delete(left, i, i+1)
	}
	return nil
}

// show is a list of builds as scenarios write it.
func (w *world) show(list []*gatetest.Build) []buildWant {
	out := make([]buildWant, len(list))
	for i, b := range list {
		changes, ref := w.changesOf(b), w.own(b).ref
		out[i] = buildWant{Job: &b.Job.Name, Changes: &changes}
		if b.Result != "" {
			out[i].Result = &b.Result
		}
		if len(changes) == 0 {
			out[i].Changes, out[i].Ref = nil, &ref
		}
	}
	return out
}

// firsts compares the first build of a job, and of a project and branch where they are given.
func (w *world) firsts(ctx context.Context, key string, want []buildWant, got []*gatetest.Build) error {
	for _, x := range want {
		if x.Job == nil {
			return fmt.Errorf("%s: an entry has no job", key)
		}
		b := w.first(got, *x.Job, x.Project, x.Branch)
		if b == nil {
			return difference(key, x, "no such build")
		}
		if err := within(key+"."+*x.Job, w.match(ctx, x, b)); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) first(list []*gatetest.Build, name string, project, branch *string) *gatetest.Build {
	for _, b := range list {
		o := w.own(b)
		if b.Job.Name == name && (project == nil || *project == o.project) && (branch == nil || *branch == o.branch) {
			return b
		}
	}
	return nil
}

func (w *world) counts(e expectation, ended []*gatetest.Build) error {
	for _, x := range e.NotRun {
		var project *string
		if x.Project != "" {
			project = &x.Project
		}
		if w.first(ended, x.Job, project, nil) != nil {
			return difference("not-run", x.Job, "it ran")
		}
	}
	jobs, results := map[string]int{}, map[string]int{}
	for _, b := range ended {
		jobs[b.Job.Name]++
		results[b.Result]++
	}
	err := each(e.JobCounts, func(k string, n int) error { return equal("job-counts."+k, &n, jobs[k]) })
	if err != nil {
		return err
	}
	return each(e.ResultCounts, func(k string, n int) error { return equal("result-counts."+k, &n, results[k]) })
}

type secretWant struct {
	Job     string           `yaml:"job"`
	Phase   string           `yaml:"phase"`
	Secrets []map[string]any `yaml:"secrets"`
}

func (w *world) secrets(ctx context.Context, want []secretWant, ended []*gatetest.Build) error {
	for _, x := range want {
		b := w.first(ended, x.Job, nil, nil)
		if b == nil {
			return difference("playbook-secrets", x.Job, "no such build")
		}
		all, err := phase(b.Job, x.Phase)
		if err != nil {
			return err
		}
		var got []map[string]any
		for _, p := range all {
			opened := map[string]any{}
			for _, s := range p.Secrets {
				if opened[s.Var], err = secret.Open(ctx, ring{}, s); err != nil {
					return fmt.Errorf("playbook-secrets of %s: %w", x.Job, err)
				}
			}
			got = append(got, opened)
		}
		if !sameJSON(x.Secrets, got) {
			return difference("playbook-secrets."+x.Job+"."+x.Phase, x.Secrets, got)
		}
	}
	return nil
}
