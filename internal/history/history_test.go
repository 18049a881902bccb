package history_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/gatetest/port"
	"github.com/gozer-ci/gozer/internal/history"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Both engines keep the same promises: every test runs on each.
func engines(t *testing.T, test func(t *testing.T, db *history.DB)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, open(t, filepath.Join(t.TempDir(), "history ?#.db")))
	})
	t.Run("postgres", func(t *testing.T) { test(t, open(t, postgres(t))) })
}

func open(t *testing.T, url string) *history.DB {
	t.Helper()
	db, err := history.Open(t.Context(), history.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// postgres starts a server of its own on loopback and makes an empty database in it.
func postgres(t *testing.T) string {
	t.Helper()
	return newServer(t).url
}

// server is a PostgreSQL server that can be stopped and started.
type server struct {
	t    *testing.T
	url  string
	addr string
	make func() *exec.Cmd
	cmd  *exec.Cmd
}

func (s *server) start() {
	s.t.Helper()
	s.cmd = s.make()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	waitFor(s.t, s.addr, s.url)
}

// stop ends the server: at once with SIGINT, as in a crash with SIGQUIT.
func (s *server) stop(sig os.Signal) {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(sig)
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func newServer(t *testing.T) *server {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(bins) == 0 {
		t.Skip("SKIP: no PostgreSQL server on this machine (apt-get install postgresql)")
	}
	bin, dir := filepath.Dir(bins[len(bins)-1]), t.TempDir()
	run := func(name string, args ...string) *exec.Cmd { return exec.Command(filepath.Join(bin, name), args...) }
	if os.Geteuid() == 0 { // the server refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Skip("SKIP: root may not run PostgreSQL, and there is no user postgres")
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		for d := dir; d != filepath.Clean(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o711); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		plain := run
		run = func(name string, args ...string) *exec.Cmd {
			return asUser(plain(name, args...), uint32(uid), uint32(gid))
		}
	}
	data := filepath.Join(dir, "data")
	if out, err := run("initdb", "-D", data, "-U", "gozer", "-A", "trust", "--no-sync", "--locale=C", "--encoding=UTF8").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	_, port, _ := net.SplitHostPort(port.Own(t))
	s := &server{t: t, url: fmt.Sprintf("postgres://gozer@127.0.0.1:%s/postgres?sslmode=disable", port), addr: "127.0.0.1:" + port, make: func() *exec.Cmd {
		return run("postgres", "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", dir)
	}}
	t.Cleanup(func() { s.stop(os.Interrupt) })
	s.start()
	return s
}

func waitFor(t *testing.T, address, url string) {
	t.Helper()
	for range 2400 {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			if db, err := history.Open(t.Context(), history.Config{URL: url}); err == nil {
				_ = db.Close()
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("PostgreSQL at %s does not answer", address)
}

var (
	noon    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	project = change.Project{Connection: "local", Host: "forge.test", Name: "org/app"}
)

func proposed(number string) *change.Change {
	return &change.Change{Kind: change.KindChange, Project: project, Branch: "main", Number: number, Patchset: "1",
		Ref: "refs/changes/01/" + number + "/1", URL: "http://forge.test/" + number}
}

func buildset(id, number string, result pipeline.Result) *pipeline.Record {
	return &pipeline.Record{Buildset: &pipeline.BuildsetRecord{ID: pipeline.BuildsetID(id), Tenant: "t", Pipeline: "gate",
		Refs: []*change.Change{proposed(number)}, Result: result, Event: event.Ref{ID: "e1", At: noon}, At: noon}}
}

func build(set, id, job, number string, result pipeline.Result, took time.Duration) *pipeline.Record {
	return &pipeline.Record{Build: &pipeline.BuildRecord{Buildset: pipeline.BuildsetID(set), JobName: job, Ref: proposed(number).Key(),
		Voting: true, Final: true, Provides: []string{"image"}, Queued: noon, Waited: "semaphore hosts: held by base",
		Build: pipeline.Build{ID: pipeline.BuildID(id), Attempt: 1, Result: result, Requested: noon, Started: noon.Add(time.Second),
			Ended: noon.Add(time.Second + took), LogURL: "http://logs/" + id + "/",
			Data: map[string]any{"zuul": map[string]any{"artifacts": []any{
				map[string]any{"name": "docs", "url": "html/", "metadata": map[string]any{"type": "docs"}}}}}}}}
}

func write(t *testing.T, db *history.DB, records ...*pipeline.Record) {
	t.Helper()
	for _, r := range records {
		if err := db.Record(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecordsAreIdempotentInAnyOrder(t *testing.T) {
	engines(t, func(t *testing.T, db *history.DB) {
		b, s := build("s1", "b1", "unit", "7", pipeline.Success, time.Minute), buildset("s1", "7", pipeline.Success)
		write(t, db, b, b, s, s, b) // the build comes before its buildset, and everything comes twice
		builds, err := db.Builds(t.Context(), "t", history.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		want := []history.Build{{ID: builds[0].ID, UUID: "b1", Buildset: "s1", Pipeline: "gate", Job: "unit", Result: "SUCCESS", Attempt: 1,
			Queued: noon, Requested: noon, Started: noon.Add(time.Second), Ended: noon.Add(time.Minute + time.Second),
			Waited: "semaphore hosts: held by base", Voting: true, Final: true, LogURL: "http://logs/b1/", EventID: "e1", EventTime: noon,
			Ref: history.Ref{Key: "local:org/app 7,1", Project: "org/app", Canonical: "forge.test/org/app", Branch: "main", Change: "7",
				Patchset: "1", Ref: "refs/changes/01/7/1", URL: "http://forge.test/7"},
			Artifacts: []history.Artifact{{Name: "docs", URL: "http://logs/b1/html/", Metadata: map[string]any{"type": "docs"}}},
			Provides:  []string{"image"}}}
		if d := cmp.Diff(want, builds); d != "" {
			t.Error(d)
		}
		got, err := db.Buildset(t.Context(), "t", "s1")
		if err != nil {
			t.Fatal(err)
		}
		if got.Result != "SUCCESS" || len(got.Refs) != 1 || got.Refs[0].Change != "7" {
			t.Errorf("buildset %+v", got)
		}
		if _, err := db.Build(t.Context(), "another", "b1"); !errors.Is(err, history.ErrNotFound) {
			t.Errorf("another tenant sees the build: %v", err)
		}
	})
}

func TestFilters(t *testing.T) {
	engines(t, func(t *testing.T, db *history.DB) {
		for i := range 6 {
			set, result := fmt.Sprint("s", i), pipeline.Success
			if i%2 == 1 {
				result = pipeline.Failure
			}
			write(t, db, buildset(set, fmt.Sprint(i), result),
				build(set, fmt.Sprint("u", i), "unit", fmt.Sprint(i), result, time.Minute),
				build(set, fmt.Sprint("l", i), "lint", fmt.Sprint(i), pipeline.Success, time.Second))
		}
		yes := true
		cases := []struct {
			name string
			f    history.Filter
			want []string
		}{
			{"newest first", history.Filter{Limit: 3}, []string{"l5", "u5", "l4"}},
			{"skip", history.Filter{Limit: 2, Skip: 1}, []string{"u5", "l4"}},
			{"job and result", history.Filter{Job: []string{"unit"}, Result: []string{"FAILURE"}}, []string{"u5", "u3", "u1"}},
			{"several changes", history.Filter{Change: []string{"1", "2"}, Job: []string{"lint"}}, []string{"l2", "l1"}},
			{"not these results", history.Filter{ExcludeResult: []string{"SUCCESS"}, Voting: &yes}, []string{"u5", "u3", "u1"}},
			{"nothing", history.Filter{Project: []string{"other"}}, nil},
			{"no such time", history.Filter{Since: noon.Add(time.Hour)}, nil},
			{"a buildset", history.Filter{Buildset: "s2", Complete: &yes}, []string{"l2", "u2"}},
		}
		for _, c := range cases {
			builds, err := db.Builds(t.Context(), "t", c.f)
			if err != nil {
				t.Fatal(c.name, err)
			}
			var got []string
			for _, b := range builds {
				got = append(got, b.UUID)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%s: %s", c.name, d)
			}
		}
		sets, err := db.Buildsets(t.Context(), "t", history.Filter{Result: []string{"FAILURE"}, Project: []string{"org/app"}, Limit: 2})
		if err != nil || len(sets) != 2 || sets[0].UUID != "s5" || sets[1].UUID != "s3" {
			t.Errorf("buildsets %+v, %v", sets, err)
		}
	})
}

func TestEstimatesLookAtTheLastTenSuccesses(t *testing.T) {
	engines(t, func(t *testing.T, db *history.DB) {
		write(t, db, buildset("s", "1", pipeline.Success))
		took := []int{900, 900, 10, 10, 10, 10, 20, 20, 20, 20, 20, 60} // the oldest two do not count
		for i, s := range took {
			write(t, db, build("s", fmt.Sprint("b", i), "unit", "1", pipeline.Success, time.Duration(s)*time.Second))
		}
		write(t, db, build("s", "bad", "unit", "1", pipeline.Failure, time.Hour))
		got, err := db.Estimates(t.Context(), "t", "gate", "forge.test/org/app")
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]history.Estimate{"unit": {Median: 20 * time.Second, Mean: 20 * time.Second, Count: 10}}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

func TestProvided(t *testing.T) {
	engines(t, func(t *testing.T, db *history.DB) {
		write(t, db, buildset("old", "1", pipeline.Failure), build("old", "b1", "image", "1", pipeline.Failure, time.Second))
		ask := func() ([]pipeline.Artifact, string) {
			found, failed, err := db.Provided(t.Context(), "t", "gate", proposed("1"), []string{"image"})
			if err != nil {
				t.Fatal(err)
			}
			return found, failed
		}
		if found, failed := ask(); found != nil || !strings.Contains(failed, `by build b1 (triggered by change 1 on project`) {
			t.Errorf("the provider failed, got %v, %q", found, failed)
		}
		write(t, db, buildset("new", "1", pipeline.Success), build("new", "b2", "image", "1", pipeline.Success, time.Second))
		found, failed := ask()
		if failed != "" || len(found) != 1 || found[0].URL != "http://logs/b2/html/" || found[0].Change != "1" || found[0].Job != "image" {
			t.Errorf("got %+v, %q", found, failed)
		}
	})
}

func TestWritersBesideEachOther(t *testing.T) {
	engines(t, func(t *testing.T, db *history.DB) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 10 {
					id := fmt.Sprint(i, "-", j)
					if err := db.Record(context.Background(), build("same", id, "unit", "1", pipeline.Success, time.Second)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		write(t, db, buildset("same", "1", pipeline.Success))
		builds, err := db.Builds(t.Context(), "t", history.Filter{Limit: 100})
		if err != nil || len(builds) != 80 {
			t.Errorf("%d builds, %v", len(builds), err)
		}
	})
}
