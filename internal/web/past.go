package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/history"
)

// filter reads the parameters of the lists of builds and buildsets.
func filter(q url.Values) (f history.Filter, err error) {
	f = history.Filter{Project: q["project"], Pipeline: q["pipeline"], Change: q["change"], Branch: q["branch"], Patchset: q["patchset"],
		Ref: q["ref"], NewRev: q["newrev"], UUID: q["uuid"], Result: q["result"], ExcludeResult: q["exclude_result"], Job: q["job_name"], Nodeset: q["nodeset"]}
	for name, to := range map[string]**bool{"voting": &f.Voting, "final": &f.Final, "held": &f.Held, "complete": &f.Complete} {
		if v := q.Get(name); v != "" {
			b, err := strconv.ParseBool(v)
			if err != nil {
				return f, badRequest("%s=%s is neither true nor false", name, v)
			}
			*to = &b
		}
	}
	for name, to := range map[string]*int64{"idx_min": &f.After, "idx_max": &f.Before} {
		n, err := number(q, name, 0)
		if err != nil {
			return f, err
		}
		*to = int64(n)
	}
	if f.Limit, err = number(q, "limit", 50); err != nil {
		return f, err
	}
	if f.Skip, err = number(q, "skip", 0); err != nil {
		return f, err
	}
	for name, to := range map[string]*time.Time{"start_time": &f.Since, "end_time": &f.Until} {
		if v := q.Get(name); v != "" {
			if *to, err = time.Parse("2006-01-02T15:04:05", v); err != nil {
				return f, badRequest("%s=%s is no time such as 2026-03-01T12:00:00", name, v)
			}
		}
	}
	return f, nil
}

// number reads a parameter that is a whole number, 0 or more.
func number(q url.Values, name string, without int) (int, error) {
	v := q.Get(name)
	if v == "" {
		return without, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, badRequest("%s=%s is no number", name, v)
	}
	return n, nil
}

func (s *Server) listBuilds(r *request) ([]history.Build, error) {
	f, err := filter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return s.History.Builds(r.Context(), r.tenant, f)
}

func (s *Server) builds(r *request) (any, error) {
	list, err := s.listBuilds(r)
	out := []api.Build{}
	for i := range list {
		out = append(out, wireBuild(&list[i]))
	}
	return out, err
}

func (s *Server) buildTimes(r *request) (any, error) {
	list, err := s.listBuilds(r)
	out := []api.BuildTime{}
	for i := range list {
		b := wireBuild(&list[i])
		out = append(out, api.BuildTime{UUID: b.UUID, JobName: b.JobName, Project: b.Ref.Project, Branch: b.Ref.Branch, Ref: b.Ref.Ref, Pipeline: b.Pipeline,
			Result: b.Result, Final: b.Final, StartTime: b.StartTime, EndTime: b.EndTime, Duration: b.Duration})
	}
	return out, err
}

func (s *Server) build(r *request) (any, error) {
	b, err := s.History.Build(r.Context(), r.tenant, r.vars["uuid"])
	if err != nil {
		return nil, err
	}
	set, err := s.History.Buildset(r.Context(), r.tenant, b.Buildset)
	if err != nil {
		return nil, err
	}
	out := wireBuild(b)
	out.Buildset.Refs = wireRefs(set.Refs)
	return out, nil
}

func (s *Server) buildsets(r *request) (any, error) {
	f, err := filter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	list, err := s.History.Buildsets(r.Context(), r.tenant, f)
	out := []api.Buildset{}
	for i := range list {
		out = append(out, wireBuildset(&list[i]))
	}
	return out, err
}

func (s *Server) buildset(r *request) (any, error) {
	set, err := s.History.Buildset(r.Context(), r.tenant, r.vars["uuid"])
	if err != nil {
		return nil, err
	}
	out := wireBuildset(set)
	builds, err := s.allBuilds(r.Context(), r.tenant, set.UUID)
	if err != nil {
		return nil, err
	}
	for i := range builds {
		b := wireBuild(&builds[i])
		if b.Final {
			out.Builds = append(out.Builds, b)
		} else {
			out.RetryBuilds = append(out.RetryBuilds, b)
		}
	}
	return out, nil
}

func (s *Server) allBuilds(ctx context.Context, tenant, buildset string) ([]history.Build, error) {
	return s.History.Builds(ctx, tenant, history.Filter{Buildset: buildset, Limit: 1000})
}

func wireBuild(b *history.Build) api.Build {
	out := api.Build{ID: b.ID, UUID: b.UUID, JobName: b.Job, Result: b.Result, Held: b.Held, StartTime: stamp(b.Started), EndTime: stamp(b.Ended),
		Voting: b.Voting, LogURL: some(b.LogURL), Nodeset: some(b.Nodeset), ErrorDetail: some(b.Detail), Final: b.Final,
		Artifacts: []api.Artifact{}, Provides: []api.Name{}, Ref: wireRef(&b.Ref), Pipeline: b.Pipeline, EventID: b.EventID,
		EventTimestamp: stamp(b.EventTime), Buildset: api.BuildsetShort{UUID: b.Buildset}, Queued: stamp(b.Queued), Waited: b.Waited}
	if !b.Started.IsZero() && !b.Ended.IsZero() {
		d := b.Duration().Seconds()
		out.Duration = &d
	}
	for _, a := range b.Artifacts {
		out.Artifacts = append(out.Artifacts, api.Artifact{Name: a.Name, URL: a.URL, Metadata: a.Metadata})
	}
	for _, p := range b.Provides {
		out.Provides = append(out.Provides, api.Name{Name: p})
	}
	return out
}

func wireBuildset(b *history.Buildset) api.Buildset {
	return api.Buildset{ID: b.ID, UUID: b.UUID, Result: b.Result, Message: b.Message, Pipeline: b.Pipeline, EventID: b.EventID,
		EventTimestamp: stamp(b.EventTime), FirstStart: stamp(b.First), LastEnd: stamp(b.Last), Refs: wireRefs(b.Refs)}
}

func wireRefs(refs []history.Ref) []api.HistoryRef {
	out := []api.HistoryRef{}
	for i := range refs {
		out = append(out, wireRef(&refs[i]))
	}
	return out
}

func wireRef(r *history.Ref) api.HistoryRef {
	return api.HistoryRef{Project: r.Project, Branch: r.Branch, Change: some(r.Change), Patchset: some(r.Patchset), Ref: r.Ref,
		OldRev: some(r.OldRev), NewRev: some(r.NewRev), RefURL: r.URL}
}

// stamp writes a time as Zuul does: UTC, without saying so.
func stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return some(t.UTC().Format("2006-01-02T15:04:05.999"))
}

// badge draws whether the newest complete buildset passed.
func (s *Server) badge(w http.ResponseWriter, r *request) error {
	f, err := filter(r.URL.Query())
	if err != nil {
		return err
	}
	yes := true
	f.Complete, f.Limit = &yes, 1
	list, err := s.History.Buildsets(r.Context(), r.tenant, f)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return missing("there is no complete buildset for the badge")
	}
	word, colour := "failing", "#b3261e"
	if list[0].Result == "SUCCESS" {
		word, colour = "passing", "#2e7d32"
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	_, _ = fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="104" height="20" role="img" aria-label="build: %[1]s"><title>build: %[1]s</title>`+
		`<rect width="104" height="20" rx="4" fill="#3f4650"/><path d="M44 0h56a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4H44z" fill="%[2]s"/>`+
		`<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle"><text x="22" y="14">build</text><text x="74" y="14">%[1]s</text></g></svg>`, word, colour)
	return nil
}
