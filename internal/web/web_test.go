package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
)

// record writes a past buildset with three builds, the middle of which waited for a semaphore.
func (w *world) record(id string, end time.Time, result pipeline.Result) {
	w.t.Helper()
	c := proposed("7", "An older change", "Bob")
	records := []*pipeline.Record{{Buildset: &pipeline.BuildsetRecord{ID: pipeline.BuildsetID(id), Tenant: "t", Pipeline: "gate", Refs: []*change.Change{c}, Result: result,
		Message: "Build " + string(result), Event: event.Ref{ID: "e7", At: end.Add(-5 * time.Minute)}, First: end.Add(-4 * time.Minute), Last: end, At: end}}}
	for i, name := range []string{"unit", "image", "deploy"} {
		r := pipeline.Success
		if name == "deploy" {
			r = result
		}
		start := end.Add(time.Duration(i-3) * time.Minute)
		records = append(records, &pipeline.Record{Build: &pipeline.BuildRecord{Buildset: pipeline.BuildsetID(id), JobName: name, Ref: c.Key(), Voting: true, Final: true,
			Queued: start.Add(-10 * time.Second), Waited: "semaphore hosts held by base, 10s",
			Build: pipeline.Build{ID: pipeline.BuildID(id + "-" + name), Attempt: 1, Result: r, Started: start, Ended: start.Add(time.Minute)}}})
	}
	for _, r := range records {
		if err := w.db.Record(w.t.Context(), r); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestStatusIsZuuls(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	w.record("past", now.Add(-time.Hour), pipeline.Success) // estimates of a minute each
	w.pipe(gate(now))
	var st api.Status
	w.wait("the item", func() bool {
		return w.get("/api/tenant/t/status", &st) == 200 && len(st.Pipelines) == 1 && len(st.Pipelines[0].Queues) == 1
	})
	it := st.Pipelines[0].Queues[0].Heads[0][0]
	if it.Refs[0].ID != "1,1" || it.Refs[0].ProjectCanonical != "forge.test/org/app" || it.ItemAhead != nil || len(it.Jobs) != 3 {
		t.Fatalf("item %+v", it)
	}
	// unit is done, image has run 40 of its 60 seconds and what the test took since, deploy takes 60 more.
	least := max(80*time.Second-time.Since(now), time.Minute).Milliseconds()
	if it.RemainingTime == nil || *it.RemainingTime < least || *it.RemainingTime > 80_000 {
		t.Errorf("remaining time %v, want %d to 80000", it.RemainingTime, least)
	}
	if j := it.Jobs[1]; *j.URL != "stream/b-image?logfile=console.log" || j.Result != nil || *j.EstimatedTime != 60 || j.Dependencies[0] != "unit" {
		t.Errorf("job %+v", j)
	}
	if j := it.Jobs[2]; *j.WaitingStatus != "waits for image" || j.UUID != nil {
		t.Errorf("job %+v", j)
	}
	// The JSON has Zuul's keys, also where there is nothing to say.
	var raw map[string]any
	w.get("/api/tenant/t/status", &raw)
	for _, k := range []string{"zuul_version", "trigger_event_queue", "management_event_queue", "connection_event_queues", "last_reconfigured", "pipelines"} {
		if _, ok := raw[k]; !ok {
			t.Errorf("status lacks %s", k)
		}
	}
	var items []api.StatusItem
	if w.get("/api/tenant/t/status/change/1,1", &items); len(items) != 1 {
		t.Errorf("items of the change: %+v", items)
	}
}

// sse reads events of a stream.
type sse struct {
	in   *bufio.Scanner
	stop context.CancelFunc
}

func (w *world) stream(last string) *sse {
	w.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	req, err := http.NewRequestWithContext(ctx, "GET", w.http.URL+"/api/tenant/t/events", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { stop(); r.Body.Close() })
	in := bufio.NewScanner(r.Body)
	in.Buffer(nil, 1<<20)
	return &sse{in, stop}
}

func (s *sse) next(t *testing.T) (ev api.Event) {
	t.Helper()
	for s.in.Scan() {
		if data, ok := strings.CutPrefix(s.in.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(data), &ev); err != nil {
				t.Fatal(err)
			}
			return ev
		}
	}
	t.Fatal("the stream ended: ", s.in.Err())
	return ev
}

func TestEventsAreASnapshotThenDeltasAndResume(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	st := gate(now)
	w.pipe(st)
	w.wait("the pipeline", func() bool { return w.get("/api/tenant/t/status", nil) == 200 })
	s := w.stream("")
	first := s.next(t)
	if !first.Snapshot || len(first.Pipelines) != 1 || len(first.Items) != 1 || first.Items[0].Jobs[1].State != "running" {
		t.Fatalf("snapshot %+v", first)
	}
	st.Items["i1"].Buildset.Jobs["image"].Build.Result = pipeline.Failure
	st.Items["i1"].Buildset.Jobs["image"].Build.Ended = now
	w.pipe(st)
	delta := s.next(t)
	if delta.Snapshot || len(delta.Pipelines) != 0 || len(delta.Items) != 1 || delta.Items[0].Jobs[1].State != "failure" {
		t.Errorf("delta %+v", delta)
	}
	st.Items, st.Queues[0].Items = map[pipeline.ItemID]*pipeline.Item{}, nil
	w.pipe(st)
	gone := s.next(t)
	if d := cmp.Diff([]string{"i1"}, gone.GoneItems); d != "" || len(gone.Pipelines) != 1 {
		t.Errorf("%s\n%+v", d, gone)
	}
	s.stop()
	// Who comes back gets what they missed, and whose version is unknown, everything.
	if again := w.stream(first.Version).next(t); again.Version != delta.Version || again.Snapshot {
		t.Errorf("resumed with %+v", again)
	}
	if other := w.stream("elsewhere-7").next(t); !other.Snapshot || len(other.Items) != 0 {
		t.Errorf("a strange version gives %+v", other)
	}
}

func TestGraphOfNowAndOfThePast(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	w.record("past", now.Add(-time.Hour), pipeline.Failure)
	w.pipe(gate(now))
	var g api.Graph
	w.wait("the graph", func() bool { return w.get("/api/tenant/t/buildset/bs-i1/graph", &g) == 200 })
	if !g.Live || !g.EdgesKnown || len(g.Jobs) != 3 || g.SerialMS < 79_000 || g.LowerBoundMS < 79_000 {
		t.Errorf("live graph %+v", g)
	}
	if d := cmp.Diff([]string{"unit", "image"}, g.Critical); d != "" {
		t.Error(d)
	}
	g = api.Graph{}
	w.get("/api/tenant/t/buildset/past/graph", &g)
	if g.Live || g.Result != "FAILURE" || g.SerialMS != 180_000 || g.ParallelMS < 180_000 || g.Jobs[2].State != "failure" || g.Jobs[1].Waiting == "" {
		t.Errorf("past graph %+v", g)
	}
	if code := w.get("/api/tenant/t/buildset/nope/graph", nil); code != 404 {
		t.Errorf("a buildset that is none: %d", code)
	}
}

func TestHistoryAsZuulTellsIt(t *testing.T) {
	w := newWorld(t)
	w.pipe(state("gate", pipeline.Dependent, ""))
	w.record("past", time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), pipeline.Failure)
	w.wait("the tenant", func() bool { return w.get("/api/tenant/t/builds", nil) == 200 })
	var builds []api.Build
	w.get("/api/tenant/t/builds?job_name=deploy&result=FAILURE&limit=5", &builds)
	if len(builds) != 1 || builds[0].UUID != "past-deploy" || *builds[0].StartTime != "2026-03-01T11:59:00" || *builds[0].Duration != 60 || *builds[0].Ref.Change != "7" {
		t.Errorf("builds %+v", builds)
	}
	var set api.Buildset
	w.get("/api/tenant/t/buildset/past", &set)
	if len(set.Builds) != 3 || set.Refs[0].Project != "org/app" {
		t.Errorf("buildset %+v", set)
	}
	var one api.Build
	w.get("/api/tenant/t/build/past-unit", &one)
	if one.JobName != "unit" || len(one.Buildset.Refs) != 1 {
		t.Errorf("build %+v", one)
	}
	if _, svg := w.send("GET", "/api/tenant/t/badge?pipeline=gate", "", ""); !strings.Contains(svg, "failing") {
		t.Error(svg)
	}
	for path, want := range map[string]int{"/api/tenant/t/builds?limit=x": 400, "/api/tenant/t/builds?voting=perhaps": 400, "/api/tenant/t/build/none": 404,
		"/api/tenant/u/builds": 404, "/api/nothing": 404, "/api/tenant/t/badge?pipeline=check": 404} {
		var e api.Error
		if code := w.get(path, &e); code != want || e.Description == "" {
			t.Errorf("%s: %d %+v, want %d", path, code, e, want)
		}
	}
}

func TestCatalog(t *testing.T) {
	w := newWorld(t)
	w.pipe(state("gate", pipeline.Dependent, ""))
	w.wait("the tenant", func() bool { return w.get("/api/tenant/t/jobs", nil) == 200 })
	for path, want := range map[string]string{
		"/api/tenants":                                 `[{"name":"t"}]`,
		"/api/tenant/t/tenant-status":                  `{"config_error_count":1}`,
		"/api/tenant/t/labels":                         `[{"name":"sandbox"}]`,
		"/api/tenant/t/job/unit":                       `[{"name":"unit"}]`,
		"/api/tenant/t/pipelines":                      `[{"name":"gate","triggers":[{"driver":"local"}]}]`,
		"/api/tenant/t/nodes":                          `[]`,
		"/api/tenant/t/autohold":                       `[]`,
		"/api/tenant/t/project/org/app":                `{"name":"org/app","connection_name":"local","canonical_name":"forge.test/org/app","type":"untrusted"}`,
		"/api/tenant/t/project/org%2Fapp":              `{"name":"org/app","connection_name":"local","canonical_name":"forge.test/org/app","type":"untrusted"}`,
		"/api/tenant/t/config-errors?severity=warning": `[]`,
		"/api/tenant/t/semaphores":                     `[{"name":"hosts","global":false,"max":1,"holders":{"count":0,"this_tenant":[],"other_tenants":0}}]`,
		"/api/tenant/t/pipeline/gate/project/org/app/branch/feature/x/freeze-jobs": `[{"name":"build","dependencies":[]},{"name":"unit","dependencies":[{"name":"build","soft":true}]}]`,
		"/health/live": "ok", "/health/ready": "ok",
	} {
		if code, got := w.send("GET", path, "", ""); code != 200 || strings.TrimSpace(got) != want {
			t.Errorf("%s: %d %s", path, code, got)
		}
	}
	_, frozen := w.send("GET", "/api/tenant/t/pipeline/gate/project/org/app/branch/feature/x/freeze-job/unit", "", "")
	if strings.Contains(frozen, "hunter2") || !strings.Contains(frozen, `"token":"REDACTED"`) {
		t.Errorf("a frozen job tells its secret: %s", frozen)
	}
}

func TestLogs(t *testing.T) {
	w := newWorld(t)
	log, err := w.logs.Create("b1", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1200 {
		log.Line(fmt.Sprintf("line %d", i))
	}
	var l api.LogLines
	w.get("/api/build/b1/log?from=1100&n=5", &l)
	if l.From != 1100 || l.Total != 1200 || l.Done || len(l.Lines) != 5 || !strings.HasSuffix(l.Lines[0], "| line 1100") {
		t.Errorf("range %+v", l)
	}
	var hits api.LogHits
	w.get("/api/build/b1/log/search?q=LINE+119&limit=3", &hits)
	if len(hits.Hits) != 3 || hits.Hits[0].Line != 119 || hits.Hits[1].Line != 1190 || !hits.More {
		t.Errorf("hits %+v", hits)
	}
	r, err := http.Get(w.http.URL + "/api/build/b1/log/stream?from=1199")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	follow := json.NewDecoder(r.Body)
	read := func() (l api.LogLines) {
		if err := follow.Decode(&l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := read(); l.From != 1199 || len(l.Lines) != 1 {
		t.Errorf("first of the stream %+v", l)
	}
	log.Line("news")
	if l := read(); l.From != 1200 || !strings.HasSuffix(l.Lines[0], "| news") {
		t.Errorf("followed %+v", l)
	}
	if err := log.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l := read(); !l.Done || l.Total != 1201 {
		t.Errorf("end %+v", l)
	}
	if _, text := w.send("GET", "/api/build/b1/log.txt", "", ""); strings.Count(text, "\n") != 1201 {
		t.Errorf("%d lines of text", strings.Count(text, "\n"))
	}
	for _, bad := range []string{"/api/build/none/log", "/api/build/none/log/stream", "/api/build/none/log.txt", "/api/build/..%2f..%2fetc/log"} {
		if code := w.get(bad, nil); code != 404 {
			t.Errorf("%s: %d", bad, code)
		}
	}
}

func TestConsoleSpeaksZuuls(t *testing.T) {
	w := newWorld(t)
	w.pipe(state("gate", pipeline.Dependent, ""))
	w.wait("the tenant", func() bool { return w.get("/api/tenant/t/status", nil) == 200 })
	log, err := w.logs.Create("b1", nil)
	if err != nil {
		t.Fatal(err)
	}
	log.Line("hello")
	ask := func(first string) *websocket.Conn {
		c, _, err := websocket.Dial(t.Context(), strings.Replace(w.http.URL, "http", "ws", 1)+"/api/tenant/t/console-stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		if err := c.Write(t.Context(), websocket.MessageText, []byte(first)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := ask(`{"uuid":"b1","logfile":"console.log"}`)
	if _, text, err := c.Read(t.Context()); err != nil || !strings.HasSuffix(string(text), "| hello\n") {
		t.Fatalf("%q, %v", text, err)
	}
	if err := log.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[websocket.StatusCode]*websocket.Conn{1000: c, 4011: ask(`{"uuid":"none"}`), 4000: ask(`{}`)} {
		if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != want {
			t.Errorf("closed with %v, want %d", err, want)
		}
	}
}

func TestOperators(t *testing.T) {
	w := newWorld(t, authenticated)
	w.owner()
	w.pipe(gate(time.Now()))
	w.wait("the tenant", func() bool { return w.get("/api/tenant/t/status", nil) == 200 })
	token := func(admin ...string) string {
		s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "i", "aud": "gozer", "sub": "ann", "exp": time.Now().Add(time.Hour).Unix(),
			"zuul": map[string]any{"admin": admin}}).SignedString([]byte("s"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const p = "/api/tenant/t/project/org/app/"
	cases := []struct {
		path, token, body string
		want              int
	}{
		{p + "dequeue", "", `{"pipeline":"gate","change":"1,1"}`, 401},
		{p + "dequeue", "garbage", `{"pipeline":"gate","change":"1,1"}`, 401},
		{p + "dequeue", token("u"), `{"pipeline":"gate","change":"1,1"}`, 403},
		{p + "dequeue", token("t"), `{"pipeline":"gate","change":"9,1"}`, 400},
		{p + "dequeue", token("t"), `{"pipeline":"gate","change":"1,1","ref":"x"}`, 400},
		{p + "dequeue", token("t"), `{"pipeline":"gate","chnge":"1,1"}`, 400},
		{p + "dequeue", token("t"), `{"pipeline":"gate","change":"1,1"}`, 200},
		{p + "enqueue", token("t"), `{"pipeline":"gate","change":"5"}`, 400},
		{p + "enqueue", token("t"), `{"pipeline":"gate","change":"5,2"}`, 200},
		{p + "autohold", token("t"), `{"job":"unit","reason":"look","count":1,"change":"5,2"}`, 200},
		{"/api/tenant/t/promote", token("t"), `{"pipeline":"gate","changes":["1,1"]}`, 200},
		{"/api/tenant/t/reconfigure", token("t"), `{"how":"all"}`, 400},
		{"/api/tenant/t/reconfigure", token("u"), `{"how":"full"}`, 403},
		{"/api/tenant/t/pause", token("*"), `{"pipeline":"gate","reason":"freeze"}`, 200},
	}
	for _, c := range cases {
		if code, body := w.send("POST", c.path, c.token, c.body); code != c.want {
			t.Errorf("%s %s: %d %s, want %d", c.path, c.body, code, body, c.want)
		}
	}
	events, err := w.store.KV().Range(t.Context(), kv.Query{Prefix: store.EventPrefix("t")})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(events.KVs, func(a, b kv.KV) int { return int(a.Create - b.Create) })
	var wishes []string
	for _, x := range events.KVs {
		e, err := w.store.Event(t.Context(), x)
		if err != nil || e.Driver != "operator" || e.User != "ann" || e.Pipeline != "gate" {
			t.Fatalf("event %+v, %v", e, err)
		}
		wishes = append(wishes, strings.TrimSpace(fmt.Sprintf("%s %s %s%s%v %s", e.Type, e.Project.Name, e.Number, e.Ref, e.Order, e.Comment)))
	}
	want := []string{"dequeue org/app 9[]", "dequeue org/app 1[]", "enqueue org/app 5[]", "promote  [1,1]", "pause  [] freeze"}
	if d := cmp.Diff(want, wishes); d != "" {
		t.Errorf("the owner of the tenant is asked (-want +got):\n%s", d)
	}
	if code, _ := w.send("GET", "/api/tenant/t/audit", "", ""); code != 401 {
		t.Errorf("anybody may read the audit record: %d", code)
	}
	code, body := w.send("GET", "/api/tenant/t/audit?limit=5", token("t"), "")
	var audits []api.Audit
	if err := json.Unmarshal([]byte(body), &audits); code != 200 || err != nil || len(audits) != 5 {
		t.Fatalf("audit: %d %s", code, body)
	}
	for _, a := range audits[:4] {
		if a.Who != "ann" || a.Outcome != "done" || a.At.IsZero() {
			t.Errorf("audit %+v", a)
		}
	}
	_, body = w.send("GET", "/api/tenant/t/audit", token("t"), "")
	if err := json.Unmarshal([]byte(body), &audits); err != nil || len(audits) != 6 || !strings.Contains(audits[5].Outcome, "is not in pipeline") {
		t.Errorf("what was refused is in the record with the reason: %s", body)
	}
	var holds []api.Autohold
	w.get("/api/tenant/t/autohold", &holds)
	if len(holds) != 1 || !regexp.MustCompile("^(?:"+holds[0].RefFilter+")$").MatchString("refs/changes/05/5/2") {
		t.Fatalf("holds %+v", holds)
	}
	if code, _ := w.send("DELETE", "/api/tenant/t/autohold/"+holds[0].ID, token("t"), ""); code != 204 {
		t.Errorf("delete of a hold: %d", code)
	}
}

func TestOpenAPITellsEveryRoute(t *testing.T) {
	w := newWorld(t)
	var doc struct {
		Paths      map[string]map[string]any
		Components struct{ Schemas map[string]any }
	}
	if code := w.get("/openapi.json", &doc); code != 200 {
		t.Fatal(code)
	}
	var index map[string]string
	w.get("/api", &index)
	for _, path := range index {
		path = strings.ReplaceAll(path, "...}", "}")
		if doc.Paths[path]["get"] == nil {
			t.Errorf("the document lacks %s", path)
		}
	}
	if len(index) < 35 || doc.Components.Schemas["Status"] == nil || doc.Components.Schemas["Graph"] == nil {
		t.Errorf("%d routes, schemas %d", len(index), len(doc.Components.Schemas))
	}
	// Every reference in the document leads somewhere.
	raw, _ := json.Marshal(doc)
	for _, m := range regexp.MustCompile(`#/components/schemas/([A-Za-z0-9]+)`).FindAllStringSubmatch(string(raw), -1) {
		if doc.Components.Schemas[m[1]] == nil {
			t.Errorf("no schema %s", m[1])
		}
	}
}

func TestPageIsServedForEveryAddress(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/", "/t/x/status", "/t/x/build/" + url.PathEscape("a/b")} {
		code, body := w.send("GET", path, "", "")
		if code != 200 || !strings.Contains(body, "<title>Gozer</title>") {
			t.Errorf("%s: %d %.80s", path, code, body)
		}
	}
	if code, _ := w.send("GET", "/assets/index-of-another-build.js", "", ""); code != 404 {
		t.Errorf("a missing asset: %d", code)
	}
	if code, _ := w.send("POST", "/t/x/status", "", ""); code != 405 {
		t.Errorf("a POST to the page: %d", code)
	}
}
