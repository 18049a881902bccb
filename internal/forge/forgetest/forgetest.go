// Package forgetest holds forges to the promises of package forge. Every driver runs it, and so does the fake.
package forgetest

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge"
)

// World is a forge with one project, and what people do there.
type World struct {
	Forge   forge.Forge
	Project change.Project
	// Branch is the default branch.
	Branch string
	// Propose makes a change with one file of its own and this message, and gives its number.
	Propose func(message string) string
	// Amend adds a patch set, Abandon closes the change, Approve does what people must do before it can merge.
	Amend, Abandon, Approve func(number string)
	// Tested makes the merge that was tested, for a forge that lands just that: the commit of the branch and the
	// result. nil: the forge merges by itself.
	Tested func(c *change.Change) (base, result string)
	// Comments are the texts on a change, oldest first.
	Comments func(number string) []string
	// SetTopic is nil for forges without topics.
	SetTopic func(number, topic string)
}

// Run runs the suite. newWorld makes an empty world for each test, and cleans up after it.
func Run(t *testing.T, newWorld func(t *testing.T) *World) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *World)
	}{
		{"Change", readsAChange},
		{"ChangeThatIsNotThere", tellsWhatIsNotThere},
		{"PatchSets", readsPatchSets},
		{"Resolve", resolvesItsOwnURLs},
		{"Dependents", listsDependents},
		{"Branches", listsBranches},
		{"ReportOnce", reportsOnce},
		{"Merge", merges},
		{"MergeOfWhatIsClosed", mergesNothingClosed},
		{"Topics", listsTopics},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newWorld(t)) })
	}
}

func (w *World) read(t *testing.T, number, patchset string) *change.Change {
	t.Helper()
	c, err := w.Forge.Change(t.Context(), w.Project, number, patchset)
	if err != nil {
		t.Fatalf("read change %s,%s: %v", number, patchset, err)
	}
	return c
}

func readsAChange(t *testing.T, w *World) {
	n := w.Propose("say hello")
	c := w.read(t, n, "")
	if c.Kind != change.KindChange || c.Project != w.Project || c.Branch != w.Branch || c.Number != n || c.Patchset != "1" {
		t.Errorf("the change is %s %s of %v on %s", c.Kind, c.ID(), c.Project, c.Branch)
	}
	if !c.Open || !c.Current || c.Merged || c.URL == "" || !strings.HasPrefix(c.Message, "say hello") {
		t.Errorf("open %v, current %v, merged %v, URL %q, message %q", c.Open, c.Current, c.Merged, c.URL, c.Message)
	}
	r := w.Forge.Remote(w.Project)
	cmd := exec.CommandContext(t.Context(), "git", "ls-remote", r.URL, c.Ref)
	cmd.Env = append(environ(cmd), r.Env...)
	out, err := cmd.Output()
	if err != nil || !strings.HasPrefix(string(out), c.Commit) {
		t.Errorf("git finds %q at %s of %s (%v), the change names %s", out, c.Ref, r.URL, err, c.Commit)
	}
}

func tellsWhatIsNotThere(t *testing.T, w *World) {
	n := w.Propose("say hello")
	for _, x := range [][2]string{{"999", ""}, {n, "99"}, {"no-number", ""}} {
		if _, err := w.Forge.Change(t.Context(), w.Project, x[0], x[1]); !errors.Is(err, forge.ErrNotFound) {
			t.Errorf("change %q,%q gives %v, want ErrNotFound", x[0], x[1], err)
		}
	}
}

func readsPatchSets(t *testing.T, w *World) {
	n := w.Propose("say hello")
	first := w.read(t, n, "")
	w.Amend(n)
	now, old := w.read(t, n, ""), w.read(t, n, "1")
	if now.Patchset != "2" || !now.Current || now.Commit == first.Commit {
		t.Errorf("the present patch set is %s (current %v, commit %s, before %s)", now.Patchset, now.Current, now.Commit, first.Commit)
	}
	if old.Current || old.Commit != first.Commit {
		t.Errorf("patch set 1 is current %v with commit %s, it was %s", old.Current, old.Commit, first.Commit)
	}
}

func resolvesItsOwnURLs(t *testing.T, w *World) {
	c := w.read(t, w.Propose("say hello"), "")
	got, ok, err := w.Forge.Resolve(t.Context(), c.URL)
	if err != nil || !ok || got.Key() != c.Key() {
		t.Errorf("%s leads to %v (%v, %v), want %s", c.URL, got, ok, err, c.Key())
	}
	for _, u := range []string{"https://elsewhere.example.org/c/org/project/+/1", "no URL at all"} {
		if _, ok, err := w.Forge.Resolve(t.Context(), u); ok || err != nil {
			t.Errorf("%q is taken for a change of this forge (%v, %v)", u, ok, err)
		}
	}
}

func listsDependents(t *testing.T, w *World) {
	a := w.read(t, w.Propose("say hello"), "")
	footer := "\n\nDepends-On: " + a.URL
	b := w.read(t, w.Propose("answer"+footer), "")
	gone := w.Propose("answer rudely" + footer)
	w.Abandon(gone)
	w.Propose("something else")
	keys, err := w.Forge.Dependents(t.Context(), a)
	if err != nil || len(keys) != 1 || keys[0] != b.Key() {
		t.Errorf("dependents are %v (%v), want %s alone", keys, err, b.Key())
	}
}

func listsBranches(t *testing.T, w *World) {
	bs, err := w.Forge.Branches(t.Context(), w.Project)
	if err != nil || len(bs) == 0 || bs[0].Name != w.Branch || len(bs[0].Commit) < 40 {
		t.Errorf("branches are %v (%v), want %s first", bs, err, w.Branch)
	}
	p := w.Project
	p.Name = "org/nowhere"
	if _, err := w.Forge.Branches(t.Context(), p); !errors.Is(err, forge.ErrNotFound) {
		t.Errorf("branches of a project that is not there: %v, want ErrNotFound", err)
	}
}

func reportsOnce(t *testing.T, w *World) {
	n := w.Propose("say hello")
	r := forge.Report{ID: "report-1", Change: w.read(t, n, ""), Action: "success", Message: "Build succeeded.", Options: map[string]any{"Verified": 1}}
	for range 2 {
		if _, err := w.Forge.Report(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (n int) {
		for _, text := range w.Comments(r.Change.Number) {
			n += strings.Count(text, r.Message)
		}
		return n
	}
	if got := count(); got != 1 {
		t.Errorf("the same report told twice left %d comments", got)
	}
	r.ID = "report-2"
	if _, err := w.Forge.Report(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got := count(); got != 2 {
		t.Errorf("two reports left %d comments", got)
	}
}

// environ is what git has of whoever runs the tests, without their configuration.
func environ(cmd *exec.Cmd) []string {
	return append(cmd.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
}

// merge asks the forge to merge a change that was tested.
func (w *World) merge(ctx context.Context, c *change.Change, id string) (forge.Outcome, error) {
	options := map[string]any{"Verified": 2, "submit": true}
	if _, err := w.Forge.Report(ctx, forge.Report{ID: id + "-said", Change: c, Action: "success", Message: "Build succeeded.", Options: options}); err != nil {
		return forge.Outcome{}, err
	}
	r := forge.Report{ID: id, Change: c, Action: "success", Options: options, Merge: true, MergeMode: "merge-resolve"}
	if w.Tested != nil {
		r.Base, r.Result = w.Tested(c)
	}
	return w.Forge.Report(ctx, r)
}

func merges(t *testing.T, w *World) {
	n := w.Propose("say hello")
	w.Approve(n)
	c := w.read(t, n, "")
	for range 2 {
		out, err := w.merge(t.Context(), c, "merge-1")
		if err != nil || !out.Merged {
			t.Fatalf("merge: %+v, %v", out, err)
		}
	}
	if after := w.read(t, n, ""); !after.Merged || after.Open {
		t.Errorf("the merged change is open %v, merged %v", after.Open, after.Merged)
	}
	r := w.Forge.Remote(w.Project)
	dir := t.TempDir()
	for _, args := range [][]string{{"init", "-q", dir}, {"-C", dir, "fetch", "-q", r.URL, w.Branch}, {"-C", dir, "merge-base", "--is-ancestor", c.Commit, "FETCH_HEAD"}} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Env = append(environ(cmd), r.Env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
}

func mergesNothingClosed(t *testing.T, w *World) {
	n := w.Propose("say hello")
	w.Approve(n)
	c := w.read(t, n, "")
	w.Abandon(n)
	out, err := w.merge(t.Context(), c, "merge-1")
	if err != nil || out.Merged || out.Why == "" {
		t.Errorf("merging an abandoned change gives %+v, %v; want a reason why not", out, err)
	}
	if after := w.read(t, n, ""); after.Merged || after.Open {
		t.Errorf("the abandoned change is open %v, merged %v", after.Open, after.Merged)
	}
}

func listsTopics(t *testing.T, w *World) {
	f, ok := w.Forge.(forge.Topics)
	if !ok || w.SetTopic == nil {
		t.Skip("this forge has no topics")
	}
	a, b, gone := w.Propose("say hello"), w.Propose("answer"), w.Propose("answer rudely")
	w.Propose("something else")
	for _, n := range []string{a, b, gone} {
		w.SetTopic(n, "greeting")
	}
	w.Abandon(gone)
	keys, err := f.Topic(t.Context(), "greeting")
	want := map[change.Key]bool{w.read(t, a, "").Key(): true, w.read(t, b, "").Key(): true}
	if err != nil || len(keys) != 2 || !want[keys[0]] || !want[keys[1]] || keys[0] == keys[1] {
		t.Errorf("the topic has %v (%v), want %v", keys, err, want)
	}
}
