package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Ref is what a buildset or a build was about.
type Ref struct {
	Key, Project, Canonical, Branch, Change, Patchset, Ref, OldRev, NewRev, URL string
}

// Buildset is one row of the past.
type Buildset struct {
	ID                           int64
	UUID, Tenant, Pipeline       string
	Result, Message, EventID     string
	EventTime, First, Last, Done time.Time
	Refs                         []Ref
}

// Build is one row of the past.
type Build struct {
	ID                                int64
	UUID, Buildset, Pipeline          string
	Job, Result                       string
	Attempt                           int
	Queued, Requested, Started, Ended time.Time
	Waited                            string
	Voting, Final, Held               bool
	LogURL, Detail, Nodeset, Executor string
	EventID                           string
	EventTime                         time.Time
	Ref                               Ref
	Artifacts                         []Artifact
	Provides                          []string
	// Edges are nil in rows of earlier versions.
	Edges *Edges
}

// Artifact is something that a build left.
type Artifact struct {
	Name, URL string
	Metadata  map[string]any
}

// Duration is how long the build ran; 0 where it did not.
func (b *Build) Duration() time.Duration {
	if b.Started.IsZero() || b.Ended.Before(b.Started) {
		return 0
	}
	return b.Ended.Sub(b.Started)
}

// Filter chooses buildsets and builds. Within one field the values are alternatives; empty fields
// choose everything. The fields below Job concern builds only.
type Filter struct {
	Project, Pipeline, Change, Branch, Patchset, Ref, NewRev, UUID, Result, ExcludeResult []string
	// Complete: buildsets with (without) a result. Since and Until bound the end of a build.
	Complete     *bool
	Since, Until time.Time
	// After and Before page by row id: only rows with After <= id <= Before (0: no bound).
	After, Before int64
	// Limit 0 is 50; at most 1000. Skip leaves the newest out.
	Limit, Skip int

	Job, Nodeset        []string
	Voting, Final, Held *bool
	// Buildset chooses the builds of one buildset.
	Buildset string
}

// where collects conditions with their arguments.
type where struct {
	text []string
	args []any
}

func (w *where) add(text string, args ...any) {
	w.text = append(w.text, text)
	w.args = append(w.args, args...)
}

func (w *where) in(column string, values []string) { w.set(column, "IN", values) }

func (w *where) set(column, word string, values []string) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	w.add(column+" "+word+" (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}

func (w *where) is(column string, v *bool) {
	if v != nil {
		w.add(column+" = ?", *v)
	}
}

func (w *where) String() string { return strings.Join(w.text, " AND ") }

// refs adds what a filter says of refs, with r as the ref table.
func (w *where) refs(f *Filter) {
	w.in("r.project", f.Project)
	w.in("r.change", f.Change)
	w.in("r.branch", f.Branch)
	w.in("r.patchset", f.Patchset)
	w.in("r.ref", f.Ref)
	w.in("r.newrev", f.NewRev)
}

func (w *where) page(table string, f *Filter) (tail string) {
	if f.After > 0 {
		w.add(table+".id >= ?", f.After)
	}
	if f.Before > 0 {
		w.add(table+".id <= ?", f.Before)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	return fmt.Sprintf(" ORDER BY %s.id DESC LIMIT %d OFFSET %d", table, min(limit, 1000), max(f.Skip, 0))
}

// Buildsets lists those of a tenant, newest first, with their refs.
func (d *DB) Buildsets(ctx context.Context, tenant string, f Filter) ([]Buildset, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	w := &where{}
	w.add("s.tenant = ?", tenant)
	w.in("s.pipeline", f.Pipeline)
	w.in("s.uuid", f.UUID)
	w.in("s.result", f.Result)
	w.set("s.result", "NOT IN", f.ExcludeResult)
	if f.Complete != nil {
		w.add(map[bool]string{true: "s.result <> ''", false: "s.result = ''"}[*f.Complete])
	}
	sub := &where{}
	sub.refs(&f)
	if len(sub.text) > 0 {
		w.add("EXISTS (SELECT 1 FROM buildset_ref br JOIN ref r ON r.id = br.ref_id WHERE br.buildset_id = s.id AND "+sub.String()+")", sub.args...)
	}
	tail := w.page("s", &f)
	rows, err := d.sql.QueryContext(ctx, d.bind(`SELECT s.id, s.uuid, s.tenant, s.pipeline, s.result, s.message, s.event_id, s.event_timestamp,
		s.first_build_start_time, s.last_build_end_time, s.updated FROM buildset s WHERE `+w.String()+tail), w.args...)
	if err != nil {
		return nil, fmt.Errorf("list buildsets of %s: %w", tenant, err)
	}
	out, err := scan(rows, func(b *Buildset, scan func(...any) error) error {
		var event, first, last, done int64
		err := scan(&b.ID, &b.UUID, &b.Tenant, &b.Pipeline, &b.Result, &b.Message, &b.EventID, &event, &first, &last, &done)
		b.EventTime, b.First, b.Last, b.Done = when(event), when(first), when(last), when(done)
		return err
	})
	if err != nil || len(out) == 0 {
		return out, err
	}
	return out, d.addRefs(ctx, out)
}

func (d *DB) addRefs(ctx context.Context, sets []Buildset) error {
	byID, w := map[int64]*Buildset{}, &where{}
	ids := make([]any, len(sets))
	for i := range sets {
		byID[sets[i].ID] = &sets[i]
		ids[i] = sets[i].ID
	}
	w.add("br.buildset_id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", ids...)
	rows, err := d.sql.QueryContext(ctx, d.bind("SELECT br.buildset_id, "+refColumns+` FROM buildset_ref br
		JOIN ref r ON r.id = br.ref_id WHERE `+w.String()+" ORDER BY br.buildset_id, br.position"), w.args...)
	if err != nil {
		return err
	}
	_, err = scan(rows, func(r *Ref, scan func(...any) error) error {
		var set int64
		if err := scan(append([]any{&set}, r.columns()...)...); err != nil {
			return err
		}
		byID[set].Refs = append(byID[set].Refs, *r)
		return nil
	})
	return err
}

// Buildset reads one; ErrNotFound where the tenant has none of that UUID.
func (d *DB) Buildset(ctx context.Context, tenant, uuid string) (*Buildset, error) {
	out, err := d.Buildsets(ctx, tenant, Filter{UUID: []string{uuid}})
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("buildset %s of %s: %w", uuid, tenant, ErrNotFound)
	}
	return &out[0], nil
}

const refColumns = "r.key, r.project, r.canonical, r.branch, r.change, r.patchset, r.ref, r.oldrev, r.newrev, r.ref_url"

func (r *Ref) columns() []any {
	return []any{&r.Key, &r.Project, &r.Canonical, &r.Branch, &r.Change, &r.Patchset, &r.Ref, &r.OldRev, &r.NewRev, &r.URL}
}

// Builds lists those of a tenant, newest first, with artifacts and what they provide.
func (d *DB) Builds(ctx context.Context, tenant string, f Filter) ([]Build, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	w := &where{}
	w.add("s.tenant = ?", tenant)
	w.builds(&f)
	tail := w.page("b", &f)
	rows, err := d.sql.QueryContext(ctx, d.bind(`SELECT b.id, b.uuid, s.uuid, s.pipeline, b.job_name, b.result, b.attempt, b.queued_time,
		b.requested_time, b.start_time, b.end_time, b.waited, b.voting, b.final, b.held, b.log_url, b.error_detail, b.nodeset, b.executor, b.edges,
		s.event_id, s.event_timestamp, `+refColumns+` FROM build b JOIN buildset s ON s.id = b.buildset_id JOIN ref r ON r.id = b.ref_id
		WHERE `+w.String()+tail), w.args...)
	if err != nil {
		return nil, fmt.Errorf("list builds of %s: %w", tenant, err)
	}
	out, err := scan(rows, func(b *Build, scan func(...any) error) error {
		var queued, requested, start, end, event int64
		var edges string
		err := scan(append([]any{&b.ID, &b.UUID, &b.Buildset, &b.Pipeline, &b.Job, &b.Result, &b.Attempt, &queued, &requested, &start, &end,
			&b.Waited, &b.Voting, &b.Final, &b.Held, &b.LogURL, &b.Detail, &b.Nodeset, &b.Executor, &edges, &b.EventID, &event}, b.Ref.columns()...)...)
		b.Queued, b.Requested, b.Started, b.Ended, b.EventTime = when(queued), when(requested), when(start), when(end), when(event)
		if err == nil && edges != "" {
			b.Edges = new(Edges)
			err = json.Unmarshal([]byte(edges), b.Edges)
		}
		return err
	})
	if err != nil || len(out) == 0 {
		return out, err
	}
	return out, d.addLeft(ctx, out)
}

func (w *where) builds(f *Filter) {
	w.refs(f)
	w.in("s.pipeline", f.Pipeline)
	w.in("b.uuid", f.UUID)
	w.in("b.job_name", f.Job)
	w.in("b.nodeset", f.Nodeset)
	w.in("b.result", f.Result)
	w.set("b.result", "NOT IN", f.ExcludeResult)
	w.is("b.voting", f.Voting)
	w.is("b.final", f.Final)
	w.is("b.held", f.Held)
	if f.Complete != nil {
		w.add(map[bool]string{true: "b.result <> ''", false: "b.result = ''"}[*f.Complete])
	}
	if f.Buildset != "" {
		w.add("s.uuid = ?", f.Buildset)
	}
	if !f.Since.IsZero() {
		w.add("b.end_time >= ?", micros(f.Since))
	}
	if !f.Until.IsZero() {
		w.add("b.end_time <= ?", micros(f.Until))
	}
}

// addLeft adds what the builds left behind: artifacts and names that they provide.
func (d *DB) addLeft(ctx context.Context, builds []Build) error {
	byID := map[int64]*Build{}
	ids := make([]any, len(builds))
	for i := range builds {
		byID[builds[i].ID] = &builds[i]
		ids[i] = builds[i].ID
	}
	in := "build_id IN (?" + strings.Repeat(", ?", len(ids)-1) + ")"
	rows, err := d.sql.QueryContext(ctx, d.bind("SELECT build_id, name, url, metadata FROM artifact WHERE "+in+" ORDER BY build_id, position"), ids...)
	if err != nil {
		return err
	}
	if _, err := scan(rows, func(a *Artifact, scan func(...any) error) error {
		var id int64
		var metadata string
		if err := scan(&id, &a.Name, &a.URL, &metadata); err != nil {
			return err
		}
		a.Metadata = readMetadata(metadata)
		byID[id].Artifacts = append(byID[id].Artifacts, *a)
		return nil
	}); err != nil {
		return err
	}
	rows, err = d.sql.QueryContext(ctx, d.bind("SELECT build_id, name FROM provides WHERE "+in+" ORDER BY build_id, name"), ids...)
	if err != nil {
		return err
	}
	_, err = scan(rows, func(name *string, scan func(...any) error) error {
		var id int64
		if err := scan(&id, name); err != nil {
			return err
		}
		byID[id].Provides = append(byID[id].Provides, *name)
		return nil
	})
	return err
}

// readMetadata reads an artifact's metadata; what is no object is none.
func readMetadata(s string) (m map[string]any) {
	if s == "" || json.Unmarshal([]byte(s), &m) != nil {
		return nil
	}
	return m
}

// Build reads one; ErrNotFound where the tenant has none of that UUID.
func (d *DB) Build(ctx context.Context, tenant, uuid string) (*Build, error) {
	out, err := d.Builds(ctx, tenant, Filter{UUID: []string{uuid}})
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("build %s of %s: %w", uuid, tenant, ErrNotFound)
	}
	return &out[0], nil
}

// scan reads all rows with one function, and closes them.
func scan[T any](rows *sql.Rows, row func(*T, func(...any) error) error) (out []T, err error) {
	defer rows.Close()
	for rows.Next() {
		var v T
		if err := row(&v, rows.Scan); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
