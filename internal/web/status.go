package web

import (
	"context"
	"slices"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/store"
)

const tenantPrefix = "/tenant/"

// tenantRecord is what web reads of the record that the owner of a tenant keeps.
type tenantRecord struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// knownTenant refuses a tenant that has neither a record nor a pipeline.
func (s *Server) knownTenant(ctx context.Context, name string) error {
	if f := s.feeds.of(name); f != nil {
		return nil
	}
	_, err := store.Records[tenantRecord](s.Store, tenantPrefix).Get(ctx, name)
	if isNotFound(err) {
		return missing("there is no tenant %q", name)
	}
	return err
}

func (s *Server) tenants(r *request) (any, error) {
	names, err := s.tenantNames(r.Context())
	out := []api.Name{}
	for _, n := range names {
		out = append(out, api.Name{Name: n})
	}
	return out, err
}

// tenantNames are the tenants that have a record or a pipeline, in order.
func (s *Server) tenantNames(ctx context.Context) ([]string, error) {
	names := s.feeds.tenants()
	list, err := store.Records[tenantRecord](s.Store, tenantPrefix).List(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		names = append(names, t.Value.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (s *Server) status(r *request) (any, error) { return s.zuulStatus(r.Context(), r.tenant) }

// zuulStatus is the live view in Zuul's words (semantics 5.3).
func (s *Server) zuulStatus(ctx context.Context, name string) (*api.Status, error) {
	out := &api.Status{Version: s.Version, ConnectionQueues: map[string]api.LengthItem{}, Pipelines: []api.StatusPipeline{}}
	if rec, err := store.Records[tenantRecord](s.Store, tenantPrefix).Get(ctx, name); err == nil {
		out.LastReconfigured = rec.Value.At.UnixMilli()
	}
	for _, c := range s.Connections {
		out.ConnectionQueues[c.Name] = api.LengthItem{}
	}
	var err error
	if out.TriggerQueue.Length, err = s.count(ctx, store.EventPrefix(name)); err != nil {
		return nil, err
	}
	f := s.feeds.of(name)
	if f == nil {
		return out, nil
	}
	now := s.Now()
	ev := f.snapshot(now)
	items := map[string]*api.Item{}
	for i := range ev.Items {
		items[ev.Items[i].ID] = &ev.Items[i]
	}
	for _, p := range ev.Pipelines {
		sp := api.StatusPipeline{Name: p.Name, Description: p.Description, State: "normal", Manager: p.Manager, Triggers: []api.Driver{}, Queues: []api.StatusQueue{}}
		if p.State == "error" {
			sp.State = "error"
		}
		for _, t := range p.Triggers {
			sp.Triggers = append(sp.Triggers, api.Driver{Driver: t})
		}
		if sp.ResultEvents, err = s.count(ctx, store.InboxPrefix(name, p.Name)); err != nil {
			return nil, err
		}
		for _, q := range p.Queues {
			sp.Queues = append(sp.Queues, statusQueue(&q, items, now))
		}
		out.Pipelines = append(out.Pipelines, sp)
	}
	return out, nil
}

func (s *Server) count(ctx context.Context, prefix string) (int, error) {
	r, err := s.Store.KV().Range(ctx, kv.Query{Prefix: prefix, KeysOnly: true})
	if err != nil {
		return 0, err
	}
	return len(r.KVs), nil
}

func statusQueue(q *api.Queue, items map[string]*api.Item, now time.Time) api.StatusQueue {
	out := api.StatusQueue{Name: q.Name, Branch: q.Branch, Window: q.Window, Heads: [][]api.StatusItem{}}
	var ahead int64
	for _, id := range q.Items {
		it := items[id]
		if it == nil {
			continue
		}
		if it.Ahead == "" || len(out.Heads) == 0 {
			out.Heads = append(out.Heads, nil)
			ahead = 0
		}
		si := statusItem(it, now)
		if si.RemainingTime != nil { // never less than that of the item ahead
			*si.RemainingTime = max(*si.RemainingTime, ahead)
			ahead = *si.RemainingTime
		}
		last := len(out.Heads) - 1
		out.Heads[last] = append(out.Heads[last], si)
	}
	return out
}

func statusItem(it *api.Item, now time.Time) api.StatusItem {
	out := api.StatusItem{ID: it.ID, Active: it.Active, Live: it.Live, Refs: []api.StatusRef{}, ItemAhead: some(it.Ahead),
		ItemsBehind: append([]string{}, it.Behind...), FailingReasons: append([]string{}, it.Failing...), EnqueueTime: it.Enqueued.UnixMilli(), Jobs: []api.StatusJob{}}
	for _, r := range it.Refs {
		out.Refs = append(out.Refs, api.StatusRef{ID: r.ID, Ref: r.Ref, URL: r.URL, Project: r.Project, ProjectCanonical: r.Canonical, Owner: some(r.Owner)})
	}
	if ends := newPlan(it.Jobs).ends(now); !ends.IsZero() {
		left := max(0, ends.Sub(now).Milliseconds())
		out.RemainingTime = &left
	}
	names := map[string]string{}
	for i := range it.Jobs {
		names[it.Jobs[i].ID] = it.Jobs[i].Name
	}
	for i := range it.Jobs {
		out.Jobs = append(out.Jobs, statusJob(it, &it.Jobs[i], names, now))
	}
	return out
}

func statusJob(it *api.Item, j *api.Job, names map[string]string, now time.Time) api.StatusJob {
	out := api.StatusJob{Name: j.Name, Dependencies: []string{}, Voting: j.Voting, Pipeline: it.Pipeline, Tries: j.Tries,
		Result: some(j.Result), UUID: some(j.Build), ReportURL: some(j.LogURL), WaitingStatus: some(j.Waiting), Queued: !j.Queued.IsZero() && j.Started.IsZero()}
	for _, d := range j.Depends {
		out.Dependencies = append(out.Dependencies, names[d.Job])
	}
	if j.Build == "" {
		return out
	}
	url, finger := "stream/"+j.Build+"?logfile=console.log", "finger://localhost/"+j.Build
	out.URL, out.FingerURL = &url, &finger
	canceled, paused, failing, retry := j.State == "canceled", j.State == "paused", j.State == "failing", j.Tries > 1 && j.Result == ""
	out.Canceled, out.Paused, out.PreFail, out.Retry = &canceled, &paused, &failing, &retry
	if usual := float64(j.EstimateMS) / 1000; usual > 0 {
		out.EstimatedTime = &usual
	}
	if j.Started.IsZero() {
		return out
	}
	out.StartTime = seconds(j.Started)
	end := now
	if !j.Ended.IsZero() {
		end = j.Ended
		out.EndTime = seconds(j.Ended)
	}
	elapsed := max(0, end.Sub(j.Started).Milliseconds())
	out.ElapsedTime = &elapsed
	if j.EstimateMS > 0 && j.Result == "" {
		left := max(0, j.EstimateMS-elapsed)
		out.RemainingTime = &left
	}
	return out
}

// some is nil for an empty text, as Zuul tells it.
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func seconds(t time.Time) *float64 {
	s := float64(t.UnixMilli()) / 1000
	return &s
}

func (s *Server) statusChange(r *request) (any, error) {
	st, err := s.zuulStatus(r.Context(), r.tenant)
	if err != nil {
		return nil, err
	}
	out := []api.StatusItem{}
	for _, p := range st.Pipelines {
		for _, q := range p.Queues {
			for _, it := range slices.Concat(q.Heads...) {
				if slices.ContainsFunc(it.Refs, func(ref api.StatusRef) bool { return ref.ID == r.vars["id"] }) {
					out = append(out, it)
				}
			}
		}
	}
	return out, nil
}
