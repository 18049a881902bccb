package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"gocloud.dev/blob/memblob"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/auth"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/web"
	page "github.com/gozer-ci/gozer/web"
)

// world is a real web server over records in memory, which a test writes as the other workers would.
type world struct {
	t     testing.TB
	store *store.Store
	db    *history.DB
	logs  *joblog.Logs
	web   *web.Server
	http  *httptest.Server
	pipes map[string]*store.Pipeline
}

func newWorld(t testing.TB, adjust ...func(*web.Config)) *world {
	t.Helper()
	ctx := t.Context()
	w := &world{t: t, pipes: map[string]*store.Pipeline{}}
	space := memkv.New(memkv.Config{})
	bucket := memblob.OpenBucket(nil)
	var err error
	if w.store, err = store.Open(ctx, store.Config{KV: space}); err != nil {
		t.Fatal(err)
	}
	if w.db, err = history.Open(ctx, history.Config{URL: filepath.Join(t.TempDir(), "history.db")}); err != nil {
		t.Fatal(err)
	}
	if w.logs, err = joblog.New(joblog.Config{Dir: t.TempDir(), Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	c := web.Config{Store: w.store, History: w.db, Logs: w.logs, Assets: page.Files(), Version: "1.2.3", Metrics: prometheus.NewRegistry(),
		Connections: []api.Connection{{Name: "local", Driver: "local", Canonical: "forge.test"}}, Layouts: layouts{}}
	for _, f := range adjust {
		f(&c)
	}
	if w.web, err = web.New(c); err != nil {
		t.Fatal(err)
	}
	run, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.web.Run(run) }()
	w.http = httptest.NewServer(w.web)
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		w.http.Close()
		_ = w.db.Close()
		_ = bucket.Close()
		_ = space.Close()
	})
	return w
}

// layouts is a small tenant configuration.
type layouts struct{}

func (layouts) Catalog(context.Context, string) (*web.Catalog, error) {
	return &web.Catalog{
		Errors: []api.ConfigError{{Source: &api.SourceContext{Project: "org/app", Branch: "main", Path: "zuul.yaml"}, Line: 7,
			Error: "The job unit2 is not defined.", ShortError: "Job not found", Severity: "error", Name: "Job Not Defined Error"}},
		Jobs:     []api.JobSummary{{Name: "unit", Description: "Unit tests", Variants: []api.VariantSummary{{Parent: "base"}}}},
		Projects: []api.Project{{Name: "org/app", Connection: "local", Canonical: "forge.test/org/app", Type: "untrusted"}},
		Variants: map[string][]any{"unit": {map[string]any{"name": "unit"}}}, Labels: []string{"sandbox"}}, nil
}

func (layouts) Freeze(_ context.Context, _, _, project, branch string) (*job.Graph, error) {
	if project != "org/app" || branch != "feature/x" {
		return nil, fmt.Errorf("project %s branch %s: %w", project, branch, store.ErrNotFound)
	}
	return &job.Graph{Jobs: []*job.Job{{ID: "build", Name: "build"}, {ID: "unit", Name: "unit", Dependencies: []job.Dependency{{Job: "build", Soft: true}},
		Run: []job.Playbook{{Path: "run.yaml", Secrets: []job.Secret{{Var: "token", Name: "t", Data: "hunter2"}}}}}}}, nil
}

var app = change.Project{Connection: "local", Host: "forge.test", Name: "org/app"}

func (layouts) LeftOut(context.Context, string, string, string, []*change.Change, event.Ref) ([]api.ExplainedJob, error) {
	return []api.ExplainedJob{{Name: "unit", Why: "It runs."}, {Name: "docs", Why: "None of the 2 changed files matches its files: ^docs/."}}, nil
}

func proposed(number, title, owner string) *change.Change {
	return &change.Change{Kind: change.KindChange, Project: app, Branch: "main", Number: number, Patchset: "1", Ref: "refs/changes/0" + number + "/" + number + "/1",
		URL: "http://forge.test/c/" + number, Owner: owner, Message: title + "\n\nMore.\n", Open: true}
}

// owner answers what operators wish, as the scheduler that owns the tenant does: it knows change 9 not. The
// events stay for the test to look at.
func (w *world) owner() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	now, err := w.store.KV().Range(ctx, kv.Query{Prefix: store.EventPrefix("t"), KeysOnly: true})
	if err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(done)
		_ = w.store.KV().Watch(ctx, store.EventPrefix("t"), now.Rev+1, func(b kv.Batch) error {
			for _, c := range b.Changes {
				e, err := w.store.Event(ctx, c.KV)
				if c.Deleted || err != nil {
					continue
				}
				no := ""
				if e.Number == "9" {
					no = "change 9,1 is not in pipeline gate"
				}
				if _, err := w.store.Write(ctx, store.Fence{}, store.ReplyOp(e.Reply, no)); err != nil {
					w.t.Error(err)
				}
			}
			return nil
		})
	}()
	w.t.Cleanup(func() { stop(); <-done })
}

// pipe writes a pipeline as its owner would.
func (w *world) pipe(st *pipeline.State) {
	w.t.Helper()
	ctx := w.t.Context()
	name := st.Settings.Name
	p := w.pipes[name]
	if p == nil {
		var err error
		if p, err = w.store.OpenPipeline(ctx, store.Fence{}, "t", name); err != nil {
			w.t.Fatal(err)
		}
		w.pipes[name] = p
	}
	var touched []pipeline.ItemID
	for id := range p.State.Items {
		touched = append(touched, id)
	}
	for id := range st.Items {
		touched = append(touched, id)
	}
	p.State = st
	p.Configured()
	if err := p.Commit(ctx, touched, nil, nil, nil); err != nil {
		w.t.Fatal(err)
	}
}

// state begins a pipeline's state.
func state(name string, kind pipeline.Kind, description string) *pipeline.State {
	return &pipeline.State{Settings: pipeline.Settings{Name: name, Manager: kind, Description: description, Connections: []string{"local"}},
		Tenant:  pipeline.Tenant{Name: "t", Projects: map[string]pipeline.Project{app.Canonical(): {Project: app}}, Semaphores: map[string]pipeline.Semaphore{"hosts": {Max: 1}}},
		Items:   map[pipeline.ItemID]*pipeline.Item{},
		Changes: map[change.Key]*change.Change{}}
}

// add puts an item behind the others of its queue.
func add(st *pipeline.State, id string, since time.Time, c *change.Change, jobs []*job.Job, states map[job.ID]*pipeline.JobState) *pipeline.Item {
	for _, j := range jobs {
		j.Refs = []change.Key{c.Key()}
	}
	it := &pipeline.Item{ID: pipeline.ItemID(id), Changes: []change.Key{c.Key()}, Live: true, Active: true, Enqueued: since, Event: event.Ref{ID: "e-" + id, At: since},
		Buildset: &pipeline.Buildset{ID: pipeline.BuildsetID("bs-" + id), Phase: pipeline.PhaseReady, Graph: &job.Graph{Jobs: jobs}, Jobs: states}}
	if st.Settings.Manager == pipeline.Dependent && len(st.Queues) > 0 {
		q := st.Queues[0]
		it.Ahead = q.Items[len(q.Items)-1]
		q.Items = append(q.Items, it.ID)
	} else {
		st.Queues = append(st.Queues, &pipeline.Queue{Name: app.Name, Projects: []string{app.Canonical()}, Window: 20, Items: []pipeline.ItemID{it.ID}})
	}
	st.Items[it.ID], st.Changes[c.Key()] = it, c
	return it
}

func (w *world) get(path string, answer any) int {
	w.t.Helper()
	r, err := http.Get(w.http.URL + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if answer != nil {
		if err := json.Unmarshal(body, answer); err != nil {
			w.t.Fatalf("%s answers %d %.200s: %v", path, r.StatusCode, body, err)
		}
	}
	return r.StatusCode
}

func (w *world) send(method, path, token, body string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.http.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return r.StatusCode, string(answer)
}

// wait asks until a condition holds.
func (w *world) wait(what string, ok func() bool) {
	w.t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("waited in vain for %s", what)
}

func authenticated(c *web.Config) {
	a, err := auth.New(auth.Config{Authenticators: []auth.Authenticator{{Name: "cli", Secret: "s", Issuer: "i", Audience: "gozer", AllowOverride: true}}})
	if err != nil {
		panic(err)
	}
	c.Auth = a
}

// gate is a gate with one item: unit ran and passed, image runs, deploy waits.
func gate(now time.Time) *pipeline.State {
	st := state("gate", pipeline.Dependent, "Merges what passes")
	jobs := []*job.Job{
		{ID: "unit", Name: "unit", Voting: true},
		{ID: "image", Name: "image", Voting: true, Dependencies: []job.Dependency{{Job: "unit"}}},
		{ID: "deploy", Name: "deploy", Voting: true, Dependencies: []job.Dependency{{Job: "image"}}, Semaphores: []job.Semaphore{{Name: "hosts"}}}}
	add(st, "i1", now.Add(-2*time.Minute), proposed("1", "Speed up the parser", "Ann"), jobs, map[job.ID]*pipeline.JobState{
		"unit": {Tries: 1, Queued: now.Add(-90 * time.Second), Build: &pipeline.Build{ID: "b-unit", Job: "unit", Attempt: 1, Result: pipeline.Success,
			Started: now.Add(-85 * time.Second), Ended: now.Add(-45 * time.Second)}},
		"image":  {Tries: 1, Queued: now.Add(-45 * time.Second), Build: &pipeline.Build{ID: "b-image", Job: "image", Attempt: 1, Started: now.Add(-40 * time.Second)}},
		"deploy": {Waiting: "waits for image"}})
	return st
}
