package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Past is a buildset that ended, with its builds.
type Past struct {
	Buildset string
	Builds   []string

	id int64
}

// Ended lists buildsets of which nothing happened since a moment, the ones that ended first, at most limit of them.
func (d *DB) Ended(ctx context.Context, before time.Time, limit int) ([]Past, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	at := micros(before)
	rows, err := d.sql.QueryContext(ctx, d.bind(`SELECT s.id, s.uuid, coalesce(b.uuid, '')
		FROM (SELECT id, uuid, updated FROM buildset WHERE updated < ? AND last_build_end_time < ? AND NOT EXISTS (
				SELECT 1 FROM build WHERE buildset_id = buildset.id AND (end_time >= ? OR start_time >= ? OR queued_time >= ?))
			ORDER BY updated, id LIMIT ?) s
		LEFT JOIN build b ON b.buildset_id = s.id ORDER BY s.updated, s.id, b.id`), at, at, at, at, at, limit)
	if err != nil {
		return nil, fmt.Errorf("list old history: %w", err)
	}
	defer rows.Close()
	var out []Past
	for rows.Next() {
		var p Past
		var build string
		if err := rows.Scan(&p.id, &p.Buildset, &build); err != nil {
			return nil, fmt.Errorf("list old history: %w", err)
		}
		if n := len(out); n == 0 || out[n-1].id != p.id {
			out = append(out, p)
		}
		if last := &out[len(out)-1]; build != "" {
			last.Builds = append(last.Builds, build)
		}
	}
	return out, rows.Err()
}

// Forget removes buildsets with all that is known of them (builds, artifacts, and refs that nothing else is about), in
// one transaction. To forget again what is gone is no error.
func (d *DB) Forget(ctx context.Context, list []Past) (err error) {
	if len(list) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	tx, err := d.sql.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("forget history: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("forget %d buildsets: %w", len(list), err)
			_ = tx.Rollback() // the transaction's own error is the one that tells
		}
	}()
	w := &writer{d, tx}
	ids := make([]any, len(list))
	for i, p := range list {
		ids[i] = p.id
	}
	sets := marks(len(ids))
	refs, err := w.ids(ctx, "SELECT ref_id FROM buildset_ref WHERE buildset_id IN "+sets+" UNION SELECT ref_id FROM build WHERE buildset_id IN "+sets, append(ids, ids...)...)
	if err != nil {
		return err
	}
	builds := "(SELECT id FROM build WHERE buildset_id IN " + sets + ")"
	for _, q := range []string{
		"DELETE FROM artifact WHERE build_id IN " + builds, "DELETE FROM provides WHERE build_id IN " + builds,
		"DELETE FROM build WHERE buildset_id IN " + sets, "DELETE FROM buildset_ref WHERE buildset_id IN " + sets,
		"DELETE FROM buildset WHERE id IN " + sets,
	} {
		if err := w.exec(ctx, q, ids...); err != nil {
			return err
		}
	}
	if len(refs) > 0 {
		if err := w.forgetRefs(ctx, refs); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// forgetRefs removes those that nothing is about any more.
func (w *writer) forgetRefs(ctx context.Context, refs []any) error {
	in := marks(len(refs))
	if w.db.postgres {
		// Whoever writes a build of one of them holds its row: what they wrote is seen by the delete.
		if _, err := w.ids(ctx, "SELECT id FROM ref WHERE id IN "+in+" ORDER BY id FOR UPDATE", refs...); err != nil {
			return err
		}
	}
	return w.exec(ctx, "DELETE FROM ref WHERE id IN "+in+` AND NOT EXISTS (SELECT 1 FROM build WHERE ref_id = ref.id)
		AND NOT EXISTS (SELECT 1 FROM buildset_ref WHERE ref_id = ref.id)`, refs...)
}

// ids runs a query that gives numbers.
func (w *writer) ids(ctx context.Context, q string, args ...any) (out []any, err error) {
	rows, err := w.tx.QueryContext(ctx, w.db.bind(q), args...)
	if err != nil {
		return nil, err
	}
	defer func(rows *sql.Rows) { err = errors.Join(err, rows.Close()) }(rows)
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// marks are n placeholders in parentheses.
func marks(n int) string { return "(" + strings.TrimSuffix(strings.Repeat("?, ", n), ", ") + ")" }
