package history_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// What ended long ago goes, in batches, oldest first, with its builds and whatever hangs on them; what is younger
// stays, and so do refs that something else is about.
func TestOldHistoryIsForgotten(t *testing.T) {
	engines(t, func(t *testing.T, db *history.DB) {
		ctx := t.Context()
		at := func(days int) time.Time { return noon.AddDate(0, 0, days) }
		uuid := func(kind, n int) string { return fmt.Sprintf("0000000%d-0000-4000-8000-%012d", kind, n) }
		record := func(n int, change string, builds int) {
			t.Helper()
			r := buildset(uuid(1, n), change, pipeline.Success)
			r.Buildset.At, r.Buildset.Last = at(n), at(n)
			for i := range builds {
				b := build(uuid(1, n), uuid(2, 10*n+i), "unit", change, pipeline.Success, time.Minute)
				b.Build.Queued, b.Build.Build.Requested = at(n), at(n)
				b.Build.Build.Started, b.Build.Build.Ended = at(n), at(n)
				if err := db.Record(ctx, b); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Record(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 7 {
			record(n, fmt.Sprint(n), n%3)
		}
		record(7, "0", 1) // a younger buildset about the change of an old one
		// A build whose buildset is not written yet is as old as the build.
		if err := db.Record(ctx, build(uuid(1, 8), uuid(2, 80), "unit", "8", pipeline.Success, time.Minute)); err != nil {
			t.Fatal(err)
		}
		var batches [][]history.Past
		for range 20 {
			list, err := db.Ended(ctx, at(5).Add(time.Minute), 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 {
				break
			}
			batches = append(batches, list)
			for range 2 { // again, as after a crash
				if err := db.Forget(ctx, list); err != nil {
					t.Fatal(err)
				}
			}
		}
		var sizes []int
		builds := map[string]int{}
		for _, b := range batches {
			sizes = append(sizes, len(b))
			for _, p := range b {
				builds[p.Buildset] = len(p.Builds)
			}
		}
		if fmt.Sprint(sizes) != "[2 2 2 1]" {
			t.Errorf("batches of %v, want 2 2 2 1", sizes)
		}
		for n := range 9 {
			_, err := db.Buildset(ctx, "t", uuid(1, n))
			old := n <= 5 || n == 8
			if got, listed := builds[uuid(1, n)]; listed != old || (n <= 5 && got != n%3) {
				t.Errorf("buildset %d: listed %v, with %d builds", n, listed, got)
			}
			if gone := errors.Is(err, history.ErrNotFound); n < 8 && gone != old {
				t.Errorf("buildset %d is gone: %v (%v), want %v", n, gone, err, old)
			}
		}
		left := db.Counts(t)
		want := map[string]int{"buildset": 2, "buildset_ref": 2, "build": 1, "artifact": 1, "provides": 1, "ref": 2}
		if fmt.Sprint(left) != fmt.Sprint(want) {
			t.Errorf("rows that are left: %v, want %v", left, want)
		}
	})
}
