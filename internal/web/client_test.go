package web_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/api/term"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

func TestClientFollowsAndShows(t *testing.T) {
	w := newWorld(t)
	st := gate(time.Now())
	w.pipe(st)
	w.wait("the tenant", func() bool { return w.get("/api/tenant/t/buildset/bs-i1/graph", nil) == 200 })
	c := api.New(api.ClientConfig{URL: w.http.URL + "/"})
	if names, err := c.Tenants(t.Context()); err != nil || len(names) != 1 || names[0] != "t" {
		t.Errorf("tenants %v, %v", names, err)
	}
	if g, err := c.Graph(t.Context(), "t", "bs-i1"); err != nil || len(g.Jobs) != 3 {
		t.Errorf("graph %+v, %v", g, err)
	}
	var refused *api.Error
	if _, err := c.Graph(t.Context(), "t", "none"); !errors.As(err, &refused) || refused.Code != 404 {
		t.Errorf("a graph that is none: %v", err)
	}

	var plain bytes.Buffer
	if err := term.Show(t.Context(), term.ShowConfig{Client: c, Tenant: "t", Out: &plain}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"gate  dependent", "▸ running org/app 1,1 Speed up the parser", "✓ passed   unit", "40s", "▸ running  image", "· waiting  deploy", "It waits for job image, which runs."} {
		if !strings.Contains(plain.String(), want) {
			t.Errorf("%q is not in\n%s", want, plain.String())
		}
	}
	if strings.Contains(plain.String(), "\x1b") {
		t.Errorf("colours where there is no terminal: %q", plain.String())
	}

	// A terminal is drawn again at every event, cut to its size.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	screen := &frames{want: "! failing", found: cancel}
	st.Items["i1"].Failing = []string{"at least one job failed"}
	w.pipe(st)
	err := term.Show(ctx, term.ShowConfig{Client: c, Tenant: "t", Out: screen, Size: func() (int, int) { return 40, 6 }})
	if err != nil || ctx.Err() != context.Canceled {
		t.Errorf("show: %v, %v: %q", err, ctx.Err(), screen.seen.String())
	}
	if !strings.Contains(screen.seen.String(), "… and") || strings.Contains(screen.seen.String(), "It waits for job image, which runs.") {
		t.Errorf("the frame is not cut: %q", screen.seen.String())
	}
}

// frames is a terminal that stops the show once it sees a text.
type frames struct {
	seen  bytes.Buffer
	want  string
	found func()
}

func (f *frames) Write(b []byte) (int, error) {
	n, err := f.seen.Write(b)
	if strings.Contains(f.seen.String(), f.want) {
		f.found()
	}
	return n, err
}

func TestClientReadsLogs(t *testing.T) {
	w := newWorld(t)
	c := api.New(api.ClientConfig{URL: w.http.URL})
	log, err := w.logs.Create("b1", nil)
	if err != nil {
		t.Fatal(err)
	}
	log.Line("one\ntwo")
	read := func(from int, follow bool, each func(string)) error {
		return c.Log(t.Context(), "b1", from, follow, func(lines []string) error {
			for _, l := range lines {
				_, text, _ := strings.Cut(l, " | ")
				each(text)
			}
			return nil
		})
	}
	var got []string
	if err := read(1, false, func(l string) { got = append(got, l) }); err != nil || strings.Join(got, ",") != "two" {
		t.Errorf("%v, %v", got, err)
	}
	got = nil
	err = read(0, true, func(l string) {
		got = append(got, l)
		switch l {
		case "two":
			log.Line("three")
		case "three":
			if err := log.Finish(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || strings.Join(got, ",") != "one,two,three" {
		t.Errorf("%v, %v", got, err)
	}
	var refused *api.Error
	if err := c.Log(t.Context(), "none", 0, true, nil); !errors.As(err, &refused) || refused.Code != 404 {
		t.Errorf("a log that is none: %v", err)
	}
}

func TestClientOperates(t *testing.T) {
	w := newWorld(t) // no authenticator: this machine may
	w.owner()
	w.pipe(gate(time.Now()))
	c := api.New(api.ClientConfig{URL: w.http.URL})
	w.wait("the tenant", func() bool { return w.get("/api/tenant/t/status", nil) == 200 })
	ctx := t.Context()
	for what, err := range map[string]error{
		"dequeue": c.Dequeue(ctx, "t", "org/app", api.DequeueRequest{Pipeline: "gate", Change: "1,1"}),
		"enqueue": c.Enqueue(ctx, "t", "org/app", api.EnqueueRequest{Pipeline: "gate", Ref: "refs/heads/main", NewRev: "abc"}),
		"promote": c.Promote(ctx, "t", api.PromoteRequest{Pipeline: "gate", Changes: []string{"1,1"}}),
		"pause":   c.Pause(ctx, "t", api.PauseRequest{Pipeline: "gate"}),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	id, err := c.Autohold(ctx, "t", "org/app", api.AutoholdRequest{Job: "unit", Reason: "look", Expiration: 60})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := c.AutoholdInfo(ctx, "t", id); err != nil || h.Job != "unit" || h.MaxCount != 1 || h.NodeExpiration != 60 || h.RefFilter != ".*" {
		t.Errorf("hold %+v, %v", h, err)
	}
	if err := c.DeleteAutohold(ctx, "t", id); err != nil {
		t.Error(err)
	}
	if all, err := c.Autoholds(ctx, "t"); err != nil || len(all) != 0 {
		t.Errorf("holds %+v, %v", all, err)
	}
	w.record("past", time.Now(), pipeline.Success)
	if b, err := c.Builds(ctx, "t", nil); err != nil || len(b) != 3 {
		t.Errorf("builds %+v, %v", b, err)
	}
	if b, err := c.Buildsets(ctx, "t", nil); err != nil || len(b) != 1 {
		t.Errorf("buildsets %+v, %v", b, err)
	}
}
