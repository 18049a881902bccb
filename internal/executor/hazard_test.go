package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/deps"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// TestHazardsAreFoundInWhatWasObserved: the pipeline asks, an executor answers from what is kept of the builds.
func TestHazardsAreFoundInWhatWasObserved(t *testing.T) {
	st, ses := openStore(t)
	w := newWorld(t, func(c *Config) { c.Store, c.Session = st, ses })
	at := func(s int) time.Time { return time.Date(2030, 1, 1, 0, 0, s, 0, time.UTC) }
	status := deps.Resource{Kind: deps.File, Host: "static01", Name: "/srv/status"}
	for build, did := range map[string]deps.Observed{
		"b-zuul":   {Resource: status, Verb: deps.Write, Task: "say how it is", Changed: true, Begin: at(5), End: at(6)},
		"b-static": {Resource: status, Verb: deps.Read, Task: "show how it is", Begin: at(2), End: at(3)},
	} {
		text, err := json.Marshal([]deps.Observed{did})
		if err == nil {
			err = w.x.Logs.Attach(t.Context(), build, deps.ObservedFile, bytes.NewReader(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.x.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	ask(t, st, &pipeline.FindHazards{Item: "i", Buildset: "b", Token: "token", Pairs: [][2]job.ID{{"static", "zuul"}, {"zuul", "mail"}},
		Builds: map[job.ID]pipeline.BuildID{"static": "b-static", "zuul": "b-zuul", "mail": "b-mail"}})
	want := &pipeline.HazardsFound{Item: "i", Buildset: "b", Token: "token", Unknown: "what job mail did was not observed", Hazards: []pipeline.Hazard{
		{Writer: "zuul", Reader: "static", Resource: "file /srv/status on static01", Wrote: `task "say how it is"`, Read: `task "show how it is"`}}}
	for range 6000 {
		r, err := st.KV().Range(t.Context(), kv.Query{Prefix: store.InboxPrefix("t", "check")})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.KVs) == 0 {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		got, err := st.Input(t.Context(), r.KVs[0])
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(pipeline.Input(want), got); d != "" {
			t.Error(d)
		}
		return
	}
	t.Error("no answer came")
}
