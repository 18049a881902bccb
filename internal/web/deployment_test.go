package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/deps"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge/local"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/web"
)

// locked lets deploy and hourly share a lock: an item of deploy has it, one of hourly waits.
func (w *world) locked(now time.Time) {
	w.t.Helper()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	deploy, hourly := fleet(now), state("hourly", pipeline.Independent, "")
	deploy.Settings.Lock = &pipeline.Lock{Name: "production", Precedence: "high", Ageing: 900}
	hourly.Settings.Lock = &pipeline.Lock{Name: "production", Precedence: "low", Ageing: 900}
	add(hourly, "h1", ago(40*time.Second), proposed("8", "The mirrors, every hour", "Gozer"), shortJobs(), map[job.ID]*pipeline.JobState{
		"unit": {Waiting: "lock: production"}, "docs": {Waiting: "lock: production"}})
	w.pipe(deploy)
	w.pipe(hourly)
	l := &pipeline.LockState{
		Holder:  &pipeline.Holder{Tenant: "t", Pipeline: "deploy", Item: "d1", Buildset: "bs-d1", Since: ago(130 * time.Second)},
		Waiting: []pipeline.Waiter{{Pipeline: "hourly", Item: "h1", Buildset: "bs-h1", Since: ago(40 * time.Second), Precedence: "low", Ageing: 900}}}
	for i, p := range []string{"deploy", "hourly", "deploy", "deploy", "hourly", "deploy"} {
		from := ago(time.Duration(60-9*i) * time.Minute)
		l.Past = append(l.Past, pipeline.Held{Pipeline: p, From: from, To: from.Add(time.Duration(2+i) * time.Minute)})
	}
	text, err := json.Marshal(pipeline.Semaphores{Locks: map[string]*pipeline.LockState{"production": l}})
	if err != nil {
		w.t.Fatal(err)
	}
	key := store.SemaphoreKey("t")
	if _, err := store.Records[json.RawMessage](w.store, key).Put(w.t.Context(), "", text, 0); err != nil {
		w.t.Fatal(err)
	}
}

// raced records a buildset of two jobs of which one read what the other wrote, in no order.
func (w *world) raced(now time.Time) {
	w.t.Helper()
	c := proposed("6", "An observed deployment", "Flo")
	at := func(s int) time.Time { return now.Add(time.Duration(s-600) * time.Second).UTC() }
	rows := []*pipeline.Record{{Buildset: &pipeline.BuildsetRecord{ID: "raced", Tenant: "t", Pipeline: "deploy", Result: pipeline.Success, At: at(40),
		Event: event.Ref{ID: "e"}}}}
	rows[0].Buildset.Refs = append(rows[0].Buildset.Refs, c)
	status := deps.Resource{Kind: deps.File, Host: "static01", Name: "/srv/zuul-status.json"}
	for name, did := range map[string]deps.Observed{
		"zuul":   {Resource: status, Verb: deps.Write, Task: "zuul : For the status page of the static site", Place: "/srv/views/x/playbooks/roles/zuul/tasks/main.yaml:21", Changed: true, Begin: at(20), End: at(22)},
		"static": {Resource: status, Verb: deps.Read, Task: "static : What Zuul last said of itself", Place: "/srv/views/x/playbooks/roles/static/tasks/main.yaml:1", Begin: at(12), End: at(13)},
	} {
		rows = append(rows, &pipeline.Record{Build: &pipeline.BuildRecord{Buildset: "raced", Job: job.ID(name), JobName: name, Ref: c.Key(), Voting: true, Final: true,
			Build: pipeline.Build{ID: pipeline.BuildID("raced-" + name), Attempt: 1, Result: pipeline.Success, Started: at(10), Ended: at(30)}}})
		text, err := json.Marshal([]deps.Observed{did})
		if err == nil {
			err = w.logs.Attach(w.t.Context(), "raced-"+name, deps.ObservedFile, bytes.NewReader(text))
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	for _, r := range rows {
		if err := w.db.Record(w.t.Context(), r); err != nil {
			w.t.Fatal(err)
		}
	}
}

// withForge mounts a built-in forge.
func withForge(t *testing.T) (*local.Forge, func(*web.Config)) {
	t.Helper()
	m := memkv.New(memkv.Config{})
	t.Cleanup(func() { _ = m.Close() })
	f, err := local.New(t.Context(), local.Config{Name: "local", Dir: t.TempDir(), Store: m, BaseURL: "http://forge.test/forge/local", PageURL: "/change/local/",
		Projects: []string{app.Name, "org/other"}, Sink: func(context.Context, event.Event) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, func(c *web.Config) {
		c.Mounts = map[string]http.Handler{"/forge/local/": http.StripPrefix("/forge/local", f.Handler())}
	}
}

// propose pushes a change to the forge, as people do.
func (w *world) propose(project, subject string) {
	w.t.Helper()
	dir := w.t.TempDir()
	remote := strings.Replace(w.http.URL, "://", "://ada@", 1) + "/forge/local/" + project
	if err := os.WriteFile(filepath.Join(dir, "zuul.yaml"), []byte("# "+subject+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	id := "I" + strings.Repeat(string("0123456789abcdef"[len(subject)%16]), 40)
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"fetch", "-q", remote, "main"}, {"reset", "-q", "FETCH_HEAD"}, {"add", "-A"},
		{"commit", "-q", "-m", subject + "\n\nWith a reason.\n\nChange-Id: " + id}, {"push", "-q", remote, "HEAD:refs/for/main"}} {
		cmd := exec.CommandContext(w.t.Context(), "git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "no_proxy=127.0.0.1", "GIT_TERMINAL_PROMPT=0", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com",
			"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
		if out, err := cmd.CombinedOutput(); err != nil {
			w.t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
}

func TestLocksAreTold(t *testing.T) {
	w := newWorld(t)
	w.locked(time.Now())
	var got []api.Lock
	w.wait("the pipelines", func() bool {
		return w.get("/api/tenant/t/pipelines", nil) == 200 && w.get("/api/tenant/t/locks", &got) == 200 && len(got) == 1 && len(got[0].Pipelines) == 2 && len(got[0].Waiting) == 1 && len(got[0].Waiting[0].Refs) == 1
	})
	l := got[0]
	if l.Name != "production" || l.Holder == nil || l.Holder.Buildset != "bs-d1" || l.Holder.Refs[0].Title != "Serve the wiki from the new hosts" || l.Ageing != 900 {
		t.Errorf("the lock is told as %+v", l)
	}
	if l.Use < 0.4 || l.Use > 0.6 || len(l.Past) != 6 || l.Pipelines[0] != (api.LockUse{Pipeline: "deploy", Precedence: "high"}) {
		t.Errorf("its use is %v, its past %v, its pipelines %v", l.Use, l.Past, l.Pipelines)
	}
	again, err := api.New(api.ClientConfig{URL: w.http.URL}).Locks(t.Context(), "t")
	if err != nil || len(again) != 1 || again[0].Waiting[0].Buildset != "bs-h1" {
		t.Errorf("the client reads %+v, %v", again, err)
	}
	var x api.Explained
	if w.get("/api/tenant/t/explain?of=h1", &x); len(x.Items) != 1 || !strings.Contains(x.Items[0].Jobs[0].Why, "held by a buildset of pipeline deploy since") ||
		!strings.Contains(x.Items[0].Jobs[0].Why, "it is next") {
		t.Errorf("who waits is told %+v", x)
	}
}

func TestWhereLinksToChangesLead(t *testing.T) {
	_, mount := withForge(t)
	w := newWorld(t, mount)
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]string{"/forge/local/c/org/app/+/7": "/change/local/7", "/forge/local/c/org/app": ""} {
		r, err := c.Get(w.http.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if got := r.Header.Get("Location"); got != want {
			t.Errorf("%s leads to %q (%s), want %q", path, got, r.Status, want)
		}
	}
}
