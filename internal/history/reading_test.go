package history_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// TestReadingLeavesItAsItIs opens the file of a history beside its server, and after it.
func TestReadingLeavesItAsItIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history.db")
	db := open(t, file)
	for i := range 3 {
		id := fmt.Sprintf("set-%d", i)
		write(t, db, buildset(id, "1", pipeline.Success), build(id, "b"+id, "unit", "1", pipeline.Success, time.Minute))
	}
	estimates := func(r *history.DB) map[string]history.Estimate {
		t.Helper()
		got, err := r.Estimates(t.Context(), "t", "gate", "")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := estimates(db)
	if len(want) == 0 {
		t.Fatal("the history has no estimates")
	}
	read := func() *history.DB {
		t.Helper()
		r, err := history.OpenForReading(t.Context(), history.Config{URL: file})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	beside := read()
	if got := estimates(beside); got["unit"] != want["unit"] {
		t.Errorf("beside the server: %v, want %v", got, want)
	}
	if err := beside.Record(t.Context(), buildset("other", "2", pipeline.Success)); err == nil {
		t.Error("it was written to")
	}
	if err := errors.Join(beside.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}

	before := content(t, file)
	after := read()
	if got := estimates(after); got["unit"] != want["unit"] {
		t.Errorf("after the server: %v, want %v", got, want)
	}
	if err := after.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, content(t, file)) {
		t.Error("the file is another")
	}
	if left, err := filepath.Glob(file + "-*"); err != nil || len(left) > 0 {
		t.Errorf("files were made beside it: %v, %v", left, err)
	}
}

func content(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestReadingDoesNotMigrate: tables of an older program stay as they are, and it is said.
func TestReadingDoesNotMigrate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history.db")
	if err := open(t, file).Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.ExecContext(t.Context(), "DELETE FROM goose_db_version WHERE version_id > 1"); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	before := content(t, file)
	if _, err := history.OpenForReading(t.Context(), history.Config{URL: file}); !errors.Is(err, history.ErrVersion) {
		t.Errorf("older tables: %v", err)
	}
	if !bytes.Equal(before, content(t, file)) {
		t.Error("the file is another")
	}
	other := filepath.Join(t.TempDir(), "other.db")
	if err := os.WriteFile(other, []byte("no database"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := history.OpenForReading(t.Context(), history.Config{URL: other}); !errors.Is(err, history.ErrVersion) {
		t.Errorf("no database: %v", err)
	}
	if _, err := history.OpenForReading(t.Context(), history.Config{URL: filepath.Join(t.TempDir(), "nowhere.db")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
}
