package layout_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/layout"
)

var update = flag.Bool("update", false, "write what the cases give into their files")

// TestCases runs the stories in testdata. A file is named [+][STEP/]PROJECT[@BRANCH]:PATH; those with a
// plus are proposed. tenant.yaml is the tenant file; without one, the project "config" is trusted and
// all others are not. "run" holds commands, "want" what they print:
//
// Unless a file "bare" is there, the project config also has the pipelines and the base job of basics.
//
//	problems                    all problems of the layout (of the proposal, after propose)
//	propose PROJECT[@BRANCH]... the dynamic layout for those project-branches
//	freeze PIPELINE PROJECT[@BRANCH] [files=A,B] [ref=R] [in=BRANCH,...] [+ PROJECT...]
//	graph  the same, but names, edges and refs only
//	jobs   the names of all jobs with their definitions
//	tenant PIPELINE             what the state machine is told of projects and semaphores
//	match TYPE PROJECT [label=value]
//	providers
func TestCases(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no cases")
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			runCases(t, a)
			if *update {
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// basics are what most cases need.
const basics = `
- pipeline:
    name: check
    manager: independent
    trigger: {gerrit: [{event: patchset-created}, {event: comment-added, comment: recheck}]}
    success: {gerrit: {Verified: 1}}
    failure: {gerrit: {Verified: -1}}
- pipeline:
    name: gate
    manager: dependent
    post-review: true
    trigger: {gerrit: {event: comment-added, approval: {Approved: 1}}}
    success: {gerrit: {Verified: 2, submit: true}}
    failure: {gerrit: {Verified: -2}}
- job: {name: base, parent: null, run: run.yaml}
`

// runCases runs each "run" section on the files so far: a file that comes again replaces the earlier
// one, and "reset" forgets them all.
func runCases(t *testing.T, a *txtar.Archive) {
	w := &world{files: map[string]string{}}
	ran := false
	for i := range a.Files {
		f := &a.Files[i]
		switch {
		case f.Name == "reset":
			w = &world{files: map[string]string{}}
		case f.Name == "run":
			w.run = strings.TrimSpace(string(f.Data))
		case f.Name == "want":
			ran = true
			got := w.play(t)
			if *update {
				f.Data = []byte(got)
			} else if d := cmp.Diff(string(f.Data), got); d != "" {
				t.Errorf("after %q (-want +got):\n%s", w.run, d)
			}
		default:
			w.files[f.Name] = string(f.Data)
		}
	}
	if !ran {
		t.Fatal("the case wants nothing")
	}
}

type world struct {
	files map[string]string
	run   string
}

// place is a file name of a case taken apart.
type place struct {
	project, branch, path string
	proposed              bool
}

func parsePlace(name string) (place, bool) {
	p := place{branch: "master"}
	name, p.proposed = strings.CutPrefix(name, "+")
	head, path, ok := strings.Cut(name, ":")
	p.path = path
	p.project = head
	if pr, br, found := strings.Cut(head, "@"); found {
		p.project, p.branch = pr, br
	}
	return p, ok
}

func (w *world) input(t *testing.T) layout.Input {
	t.Helper()
	tenant := config.NewTenant("test")
	globals := map[string]int{}
	trees := map[string]map[string]map[string][]byte{}
	if _, bare := w.files["bare"]; !bare {
		trees["config"] = map[string]map[string][]byte{"master": {"zuul.d/00.yaml": []byte(basics)}}
	}
	for name, data := range w.files {
		p, ok := parsePlace(name)
		if !ok || p.proposed {
			continue
		}
		if trees[p.project] == nil {
			trees[p.project] = map[string]map[string][]byte{}
		}
		if trees[p.project][p.branch] == nil {
			trees[p.project][p.branch] = map[string][]byte{}
		}
		trees[p.project][p.branch][p.path] = []byte(data)
	}
	if data, ok := w.files["tenant.yaml"]; ok {
		f := config.ParseTenants("tenant.yaml", []byte(data), config.Options{Connections: connections})
		if len(f.Problems) > 0 || len(f.Tenants) == 0 {
			t.Fatalf("tenant.yaml: %v", f.Problems)
		}
		tenant = f.Tenants[0]
		for _, s := range f.GlobalSemaphores {
			globals[s.Name] = s.Max
		}
	} else {
		for _, name := range slices.Sorted(maps.Keys(trees)) {
			o := config.NewTenantProject("gerrit", name, name == "config")
			if o.Trusted {
				tenant.Projects = append([]*config.TenantProject{o}, tenant.Projects...)
			} else {
				tenant.Projects = append(tenant.Projects, o)
			}
		}
	}
	in := layout.Input{Tenant: tenant, GlobalSemaphores: globals}
	for _, o := range tenant.Projects {
		p := change.Project{Connection: o.Connection, Host: host(o.Connection), Name: o.Name}
		pi := layout.ProjectInput{Project: p, Options: o, Driver: o.Connection}
		for branch, tree := range trees[o.Name] {
			pi.Branches = append(pi.Branches, parseTree(p, o, branch, tree))
		}
		in.Projects = append(in.Projects, pi)
	}
	return in
}

func (w *world) play(t *testing.T) string {
	t.Helper()
	in := w.input(t)
	live := layout.New(in)
	l, problems := live, live.Problems
	var b strings.Builder
	for _, line := range strings.Split(w.run, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		switch words[0] {
		case "problems":
			printProblems(&b, problems)
		case "propose":
			d := live.Dynamic(w.proposal(in, words[1:]))
			problems, l = d.Problems, d.Layout
			switch {
			case d.Blocked():
				b.WriteString("blocked\n")
				l = live
			case d.Layout.ID == live.ID:
				b.WriteString("live layout\n")
			default:
				b.WriteString("new layout\n")
			}
		case "freeze", "graph":
			w.freeze(&b, l, live, words)
		case "jobs":
			for _, name := range l.Jobs() {
				fmt.Fprintf(&b, "%s: %d\n", name, len(l.Variants(name)))
			}
		case "tenant":
			printTenant(&b, l.Tenant(words[1]))
		case "match":
			fmt.Fprintf(&b, "%v\n", match(l, words[1:]))
		case "providers":
			for _, p := range l.Providers() {
				fmt.Fprintf(&b, "%s\n", must(json.MarshalIndent(p, "", " ")))
			}
		default:
			t.Fatalf("unknown command %q", line)
		}
	}
	return b.String()
}

func match(l *layout.Layout, words []string) []string {
	e := &event.Event{Connection: "gerrit", Driver: "gerrit", Type: words[0], Project: project(words[1]), Branch: "master"}
	for _, w := range words[2:] {
		k, v, _ := strings.Cut(w, "=")
		if k == "comment" {
			e.Comment = v
			continue
		}
		n := 0
		fmt.Sscanf(v, "%d", &n)
		e.Votes = append(e.Votes, event.Vote{Vote: change.Vote{Label: k, Value: n}})
	}
	c := &change.Change{Kind: change.KindChange, Project: e.Project, Branch: "master", Open: true}
	return l.Match(e, c, time.Unix(0, 0))
}

func project(name string) change.Project {
	return change.Project{Connection: "gerrit", Host: host("gerrit"), Name: name}
}

func (w *world) proposal(in layout.Input, names []string) layout.DynamicInput {
	var d layout.DynamicInput
	for i, name := range names {
		own := !strings.HasPrefix(name, "ahead=")
		p, _ := parsePlace(strings.TrimPrefix(name, "ahead=") + ":")
		tree := map[string][]byte{}
		for file, data := range w.files {
			if q, ok := parsePlace(file); ok && q.proposed && q.project == p.project && q.branch == p.branch {
				tree[q.path] = []byte(data)
			}
		}
		var o *config.TenantProject
		for _, tp := range in.Tenant.Projects {
			if tp.Name == p.project {
				o = tp
			}
		}
		b := parseTree(project(p.project), o, p.branch, tree)
		d.Proposed = append(d.Proposed, layout.Proposal{Project: project(p.project), Branch: p.branch, Files: b.Files, Ignored: b.Ignored})
		if own {
			d.Changes = append(d.Changes, newChange(p, i+1))
		}
	}
	return d
}

func newChange(p place, n int) *change.Change {
	return &change.Change{Kind: change.KindChange, Project: project(p.project), Branch: p.branch,
		Number: fmt.Sprint(n), Patchset: "1", Ref: fmt.Sprintf("refs/changes/0%d/%d/1", n, n)}
}

func (w *world) freeze(b *strings.Builder, l, live *layout.Layout, words []string) {
	in := layout.FreezeInput{Pipeline: words[1], Ahead: live}
	var c *change.Change
	for _, word := range words[2:] {
		k, v, option := strings.Cut(word, "=")
		switch {
		case word == "+":
		case !option:
			p, _ := parsePlace(word + ":")
			c = newChange(p, len(in.Changes)+1)
			in.Changes = append(in.Changes, c)
		case k == "files":
			c.Files = strings.Split(v, ",")
		case k == "ref":
			c.Kind, c.Branch, c.Ref, c.NewRev = change.KindTag, "", v, "abc"
			c.Number, c.Patchset = "", ""
		case k == "in":
			c.ContainingBranches = strings.Split(v, ",")
		case k == "trigger":
			in.Trigger.Key = c.Key()
		}
	}
	f := l.Freeze(in)
	switch {
	case f.NotInPipeline:
		b.WriteString("not in pipeline\n")
	case f.Graph == nil:
		printProblems(b, f.Problems)
	default:
		for _, d := range f.Graph.Debug {
			fmt.Fprintf(b, "debug: %s\n", d)
		}
		if f.Graph.FailFast {
			b.WriteString("fail-fast\n")
		}
		for _, j := range f.Graph.Jobs {
			printJob(b, j, words[0] == "graph")
		}
	}
}

func printProblems(b *strings.Builder, list []config.Problem) {
	if len(list) == 0 {
		b.WriteString("no problems\n")
	}
	for _, p := range list {
		fmt.Fprintf(b, "%s %s [%s] %s", p.Where(), p.Severity, p.Name, strings.ReplaceAll(p.Short, "\n", "|"))
		if p.Hint != "" {
			fmt.Fprintf(b, " (%s)", p.Hint)
		}
		b.WriteByte('\n')
	}
}

// unsaid are values that every job has unless it says otherwise.
var unsaid = map[string]string{"voting": "true", "attempts": "3", "deduplicate": `"auto"`, "nodeset": "{}",
	"workspace_scheme": `"golang"`, "workspace_checkout": `"true"`}

func printJob(b *strings.Builder, j *job.Job, brief bool) {
	fmt.Fprintf(b, "job %s", j.Name)
	if len(j.Refs) > 1 || string(j.ID) != j.Name {
		fmt.Fprintf(b, " (%s) for %q", j.ID, j.Refs)
	}
	b.WriteByte('\n')
	var fields map[string]json.RawMessage
	must[any](nil, json.Unmarshal(must(json.Marshal(j)), &fields))
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		v := string(fields[k])
		if brief && k != "dependencies" && k != "voting" {
			continue
		}
		switch k {
		case "id", "name", "refs", "hash", "path":
		case "pre_run", "run", "post_run":
			var books []job.Playbook
			must[any](nil, json.Unmarshal(fields[k], &books))
			for _, p := range books {
				fmt.Fprintf(b, "  %s %s\n", k, playbook(p))
			}
		default:
			if unsaid[k] != v {
				v = strings.ReplaceAll(v, `"connection":"gerrit","host":"review.example.com",`, "")
				fmt.Fprintf(b, "  %s %s\n", k, v)
			}
		}
	}
}

func playbook(p job.Playbook) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s@%s level %d", p.Path, p.Source.Project.Name, p.Source.Branch, p.Level)
	if p.Source.Trusted {
		b.WriteString(" trusted")
	}
	for _, r := range p.Roles {
		fmt.Fprintf(&b, " role=%s:%s", r.Project.Name, r.Name)
		if r.Implicit {
			b.WriteString("?")
		}
	}
	for _, s := range p.Secrets {
		fmt.Fprintf(&b, " secret=%s:%s/%s", s.Var, s.Owner.Name, s.Name)
	}
	for _, s := range p.Semaphores {
		b.WriteString(" semaphore=" + s)
	}
	if p.LegacyCleanup {
		b.WriteString(" legacy")
	}
	if p.Cleanup {
		b.WriteString(" cleanup")
	}
	return b.String()
}

func printTenant(b *strings.Builder, t any) {
	var fields struct {
		Projects   map[string]map[string]any
		Semaphores map[string]map[string]any
	}
	must[any](nil, json.Unmarshal(must(json.Marshal(t)), &fields))
	for _, name := range slices.Sorted(maps.Keys(fields.Projects)) {
		p := fields.Projects[name]
		delete(p, "project")
		fmt.Fprintf(b, "%s %s\n", strings.TrimPrefix(name, "review.example.com/"), must(json.Marshal(p)))
	}
	for _, name := range slices.Sorted(maps.Keys(fields.Semaphores)) {
		fmt.Fprintf(b, "semaphore %s %s\n", name, must(json.Marshal(fields.Semaphores[name])))
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
