package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Record writes what the effect tells of a buildset or a build, in one transaction. Writing the same
// record again changes nothing; a later record of the same buildset or build replaces what it says
// anew and keeps what it leaves empty.
func (d *DB) Record(ctx context.Context, r *pipeline.Record) (err error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	tx, err := d.sql.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the transaction's own error is the one that tells
		}
	}()
	w := &writer{d, tx}
	if r.Buildset != nil {
		if err := w.buildset(ctx, r.Buildset); err != nil {
			return fmt.Errorf("write history of buildset %s: %w", r.Buildset.ID, err)
		}
	}
	if r.Build != nil {
		if err := w.build(ctx, r.Build); err != nil {
			return fmt.Errorf("write history of build %s: %w", r.Build.Build.ID, err)
		}
	}
	return tx.Commit()
}

// writer writes rows within one transaction.
type writer struct {
	db *DB
	tx *sql.Tx
}

func (w *writer) exec(ctx context.Context, q string, args ...any) error {
	_, err := w.tx.ExecContext(ctx, w.db.bind(q), args...)
	return err
}

// id runs an upsert that returns the row's id.
func (w *writer) id(ctx context.Context, q string, args ...any) (id int64, err error) {
	err = w.tx.QueryRowContext(ctx, w.db.bind(q), args...).Scan(&id)
	return id, err
}

func (w *writer) buildset(ctx context.Context, b *pipeline.BuildsetRecord) error {
	id, err := w.id(ctx, `INSERT INTO buildset (uuid, tenant, pipeline, result, message, event_id, event_timestamp,
			first_build_start_time, last_build_end_time, updated)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (uuid) DO UPDATE SET tenant = excluded.tenant, pipeline = excluded.pipeline,
			result = CASE excluded.result WHEN '' THEN buildset.result ELSE excluded.result END,
			message = CASE excluded.message WHEN '' THEN buildset.message ELSE excluded.message END,
			event_id = excluded.event_id, event_timestamp = excluded.event_timestamp,
			first_build_start_time = CASE excluded.first_build_start_time WHEN 0 THEN buildset.first_build_start_time ELSE excluded.first_build_start_time END,
			last_build_end_time = CASE excluded.last_build_end_time WHEN 0 THEN buildset.last_build_end_time ELSE excluded.last_build_end_time END,
			updated = excluded.updated
		RETURNING id`,
		string(b.ID), b.Tenant, b.Pipeline, string(b.Result), b.Message, b.Event.ID, micros(b.Event.At),
		micros(b.First), micros(b.Last), micros(b.At))
	if err != nil {
		return err
	}
	for i, c := range b.Refs {
		ref, err := w.ref(ctx, c)
		if err != nil {
			return err
		}
		if err := w.exec(ctx, `INSERT INTO buildset_ref (buildset_id, ref_id, position) VALUES (?, ?, ?)
			ON CONFLICT (buildset_id, ref_id) DO NOTHING`, id, ref, i); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) ref(ctx context.Context, c *change.Change) (int64, error) {
	return w.id(ctx, `INSERT INTO ref (key, project, canonical, branch, change, patchset, ref, oldrev, newrev, ref_url)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (key) DO UPDATE SET project = excluded.project, canonical = excluded.canonical,
			branch = excluded.branch, change = excluded.change, patchset = excluded.patchset, ref = excluded.ref,
			oldrev = excluded.oldrev, newrev = excluded.newrev, ref_url = excluded.ref_url
		RETURNING id`,
		string(c.Key()), c.Project.Name, c.Project.Canonical(), c.Branch, c.Number, c.Patchset, c.Ref, c.OldRev, c.NewRev, c.URL)
}

func (w *writer) build(ctx context.Context, r *pipeline.BuildRecord) error {
	// The row of the buildset, or of the ref, may still be missing: it is made now and filled later.
	set, err := w.id(ctx, `INSERT INTO buildset (uuid) VALUES (?) ON CONFLICT (uuid) DO UPDATE SET uuid = excluded.uuid RETURNING id`,
		string(r.Buildset))
	if err != nil {
		return err
	}
	ref, err := w.id(ctx, `INSERT INTO ref (key) VALUES (?) ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING id`, string(r.Ref))
	if err != nil {
		return err
	}
	b := &r.Build
	id, err := w.id(ctx, `INSERT INTO build (uuid, buildset_id, ref_id, job_name, attempt, result, queued_time, requested_time,
			start_time, end_time, waited, voting, final, held, log_url, error_detail, nodeset, executor, edges)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (uuid) DO UPDATE SET result = excluded.result, end_time = excluded.end_time,
			start_time = excluded.start_time, final = excluded.final, held = excluded.held,
			log_url = excluded.log_url, error_detail = excluded.error_detail
		RETURNING id`,
		string(b.ID), set, ref, r.JobName, b.Attempt, string(b.Result), micros(r.Queued), micros(b.Requested),
		micros(b.Started), micros(b.Ended), r.Waited, r.Voting, r.Final, b.Held, logURL(b), b.Detail, r.Nodeset, b.Executor, edgesText(r))
	if err != nil {
		return err
	}
	for i, a := range artifacts(b) {
		if err := w.exec(ctx, `INSERT INTO artifact (build_id, position, name, url, metadata) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (build_id, position) DO NOTHING`, id, i, a.Name, a.URL, a.Metadata); err != nil {
			return err
		}
	}
	for _, p := range r.Provides {
		if err := w.exec(ctx, `INSERT INTO provides (build_id, name) VALUES (?, ?) ON CONFLICT (build_id, name) DO NOTHING`, id, p); err != nil {
			return err
		}
	}
	return nil
}

// Edges are a job's place in the graph of its buildset.
type Edges struct {
	ID           job.ID           `json:"id"`
	Dependencies []job.Dependency `json:"dependencies,omitempty"`
	Semaphores   []string         `json:"semaphores,omitempty"`
}

func edgesText(r *pipeline.BuildRecord) string {
	if r.Job == "" {
		return ""
	}
	text, err := json.Marshal(Edges{r.Job, r.Dependencies, r.Semaphores})
	if err != nil {
		return "" // strings and booleans: it cannot be
	}
	return string(text)
}

// returned is data.zuul of zuul_return, as far as history keeps it.
type returned struct {
	LogURL    string `json:"log_url"`
	Artifacts []struct {
		Name     string          `json:"name"`
		URL      string          `json:"url"`
		Metadata json.RawMessage `json:"metadata"`
	} `json:"artifacts"`
}

// zuulData reads data.zuul; a job that returned something of another shape returned nothing.
func zuulData(b *pipeline.Build) (r returned) {
	raw, err := json.Marshal(b.Data["zuul"])
	if err != nil || json.Unmarshal(raw, &r) != nil {
		return returned{}
	}
	return r
}

// logURL is where the job says that its logs are, else where the executor does.
func logURL(b *pipeline.Build) string {
	if u := zuulData(b).LogURL; u != "" {
		return u
	}
	return b.LogURL
}

type artifactRow struct{ Name, URL, Metadata string }

// artifacts are what the build returned; a relative URL is one below its log URL (semantics 4.7).
func artifacts(b *pipeline.Build) (out []artifactRow) {
	base := logURL(b)
	for _, a := range zuulData(b).Artifacts {
		u := a.URL
		if base != "" && !strings.Contains(u, "://") && !strings.HasPrefix(u, "/") {
			u = strings.TrimSuffix(base, "/") + "/" + u
		}
		out = append(out, artifactRow{a.Name, u, string(a.Metadata)})
	}
	return out
}
