package joblog

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// elsewhere is a second process that reads what l writes, over HTTP.
func elsewhere(t testing.TB, l *Logs, share bool) *Logs {
	t.Helper()
	srv := httptest.NewServer(Handler(l, "secret"))
	t.Cleanup(srv.Close)
	bucket := newLogs(t).cfg.Bucket
	if share {
		bucket = l.cfg.Bucket
	}
	there, err := New(Config{Dir: t.TempDir(), Bucket: bucket, Now: l.cfg.Now, Elsewhere: func(_ context.Context, build string) (Peer, error) {
		if build == "nobody" {
			return Peer{}, ErrNotFound
		}
		return Peer{srv.URL, "secret"}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return there
}

func TestLogIsFollowedFromAnotherProcess(t *testing.T) {
	l := newLogs(t)
	there := elsewhere(t, l, true)
	w := create(t, l, "b1", nil)
	w.Mark("task", "first", "")
	for i := range 5000 {
		w.Line(fmt.Sprint("line ", i))
	}
	if _, err := there.Open(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a build that nobody runs: %v", err)
	}
	const readers = 20
	var all sync.WaitGroup
	got := make([]int, readers)
	for k := range readers {
		r := openLog(t, there, "b1")
		all.Go(func() {
			err := r.Follow(t.Context(), 0, func(first int, lines []string) error {
				for i, line := range lines {
					want := fmt.Sprint("line ", first+i)
					if first+i == 9999 {
						want = "last"
					}
					if line != stamp+want {
						return fmt.Errorf("line %d is %q", first+i, line)
					}
				}
				got[k] += len(lines)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for i := 5000; i < 9999; i++ {
		w.Line(fmt.Sprint("line ", i))
	}
	w.Mark("task", "second", "")
	w.Line("last")
	if err := w.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	for k, n := range got {
		if n != 10000 {
			t.Errorf("reader %d saw %d lines", k, n)
		}
	}
	r := openLog(t, there, "b1")
	if s := r.Index().Find("second"); len(s) != 1 || s[0].From != 9999 {
		t.Errorf("sections %+v", s)
	}
}

// The connection to the process that writes breaks: the copy goes on where it stopped.
func TestMirrorGoesOn(t *testing.T) {
	l := newLogs(t)
	w := create(t, l, "b1", nil)
	w.Line("before")
	srv := httptest.NewServer(Handler(l, ""))
	defer srv.Close()
	there, err := New(Config{Dir: t.TempDir(), Bucket: newLogs(t).cfg.Bucket, Now: l.cfg.Now, Elsewhere: func(context.Context, string) (Peer, error) {
		return Peer{URL: srv.URL}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := openLog(t, there, "b1")
	var seen []string
	err = r.Follow(t.Context(), 0, func(first int, lines []string) error {
		seen = append(seen, lines...)
		if first == 0 {
			srv.CloseClientConnections()
			w.Line("after")
			return w.Finish(t.Context())
		}
		return nil
	})
	if err != nil || strings.Join(seen, ";") != stamp+"before;"+stamp+"after" {
		t.Errorf("%q, %v", seen, err)
	}
}

func TestHandlerWantsTheToken(t *testing.T) {
	srv := httptest.NewServer(Handler(newLogs(t), "secret"))
	defer srv.Close()
	r, err := srv.Client().Get(srv.URL + "/log/b1")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 401 {
		t.Errorf("without the token: %s", r.Status)
	}
}

func TestSections(t *testing.T) {
	i := Index{Lines: 100, Marks: []Mark{{Line: 0, Kind: "playbook", Name: "pre.yaml"}, {Line: 1, Kind: "play", Name: "all"}, {Line: 2, Kind: "task", Name: "install"},
		{Line: 10, Kind: "failure", Name: "install"}, {Line: 12, Kind: "task", Name: "test"}, {Line: 30, Kind: "playbook", Name: "run.yaml"}, {Line: 31, Kind: "task", Name: "test"}}}
	for name, want := range map[string]string{
		"install": "[{task install 2 12 false}]", "test": "[{task test 12 30 false} {task test 31 100 true}]",
		"PRE": "[{playbook pre.yaml 0 30 false}]", "none": "[]",
	} {
		if got := fmt.Sprint(i.Find(name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestFollowSections(t *testing.T) {
	l := newLogs(t)
	w := create(t, l, "b1", nil)
	r := openLog(t, l, "b1")
	got := make(chan string, 1)
	go func() {
		var b strings.Builder
		found, err := r.FollowSections(t.Context(), "test", 0, func(_ int, lines []string) error {
			for _, line := range lines {
				b.WriteString(strings.TrimPrefix(line, stamp) + ";")
			}
			return nil
		})
		got <- fmt.Sprint(b.String(), found, err)
	}()
	for _, task := range []string{"prepare", "test", "clean up", "test"} {
		w.Mark("task", task, "")
		w.Line(task + " begins")
		w.Line(task + " ends")
	}
	if err := w.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "test begins;test ends;test begins;test ends;true <nil>" {
		t.Error(s)
	}
}

func TestSearch(t *testing.T) {
	l := newLogs(t)
	w := create(t, l, "b1", nil)
	for i := range 10000 {
		w.Line(fmt.Sprint("Line ", i))
	}
	r := openLog(t, l, "b1")
	hits, more, err := r.Search(t.Context(), Query{Text: "line 99", Limit: 3, From: 100})
	if err != nil || !more || len(hits) != 3 || hits[0].Line != 990 || hits[2].Line != 992 {
		t.Errorf("%+v, more %t, %v", hits, more, err)
	}
	hits, more, err = r.Search(t.Context(), Query{Pattern: regexp.MustCompile("Line [0-9]99$"), Limit: 100})
	if err != nil || more || len(hits) != 9 {
		t.Errorf("%d hits, more %t, %v", len(hits), more, err)
	}
}

// One task prints a line of 100 MB: it is all there, in pieces, and no reader gets it in one.
func TestLineOfHundredMegabytes(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 100 MB")
	}
	l := newLogs(t)
	w := create(t, l, "b1", nil)
	p := NewPieces(nil)
	part := strings.Repeat("x", 1<<20)
	for range 99 {
		for _, s := range p.Add(part, true) {
			w.Line(s)
		}
	}
	for _, s := range p.Add(part, false) {
		w.Line(s)
	}
	if err := w.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := openLog(t, l, "b1")
	bytes := 0
	if err := r.Follow(t.Context(), 0, func(_ int, lines []string) error {
		n := 0
		for _, line := range lines {
			n += len(line)
			bytes += len(line) - len(stamp)
		}
		if n > 2*mostFollowed {
			return fmt.Errorf("%d bytes at once", n)
		}
		return nil
	}); err != nil || bytes != 100<<20 {
		t.Errorf("%d bytes, %v", bytes, err)
	}
}

func TestFullDiskIsToldInTheLog(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	l := newLogs(t)
	w := create(t, l, "b1", nil)
	w.Line("before")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	disk := w.file
	w.file = full
	w.Line("lost one\nlost two")
	w.Line("lost three")
	w.file = disk
	w.Line("after")
	if w.Err() == nil {
		t.Error("nobody is told")
	}
	r := openLog(t, l, "b1")
	lines, err := r.ReadLines(t.Context(), 0, 10)
	if err != nil || len(lines) != 3 || !strings.Contains(lines[1], "[3 lines of this log are lost: ") || !strings.Contains(lines[1], "no space left") || lines[2] != stamp+"after" {
		t.Errorf("%q, %v", lines, err)
	}
}

func TestExpire(t *testing.T) {
	l := newLogs(t)
	now := time.Now()
	l.cfg.Now = func() time.Time { return now }
	keep := func(build string) {
		w := create(t, l, build, nil)
		w.Line(strings.Repeat("x", 1000))
		if err := w.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.Attach(t.Context(), build, "job-output.json", strings.NewReader("[]")); err != nil {
			t.Fatal(err)
		}
	}
	keep("aa1")
	keep("bb1")
	if err := l.cfg.Bucket.WriteAll(t.Context(), "other/thing", []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	if out, err := l.Expire(t.Context(), Retention{Keep: time.Hour, Max: 1 << 20}); err != nil || out.Builds != 0 {
		t.Errorf("nothing is old: %+v, %v", out, err)
	}
	if out, err := l.Expire(t.Context(), Retention{Max: 1500}); err != nil || out.Builds != 1 || out.Left > 1500 {
		t.Errorf("one is too much: %+v, %v", out, err)
	}
	now = now.Add(2 * time.Hour)
	if out, err := l.Expire(t.Context(), Retention{Keep: time.Hour}); err != nil || out.Builds != 1 || out.Left != 0 {
		t.Errorf("the other is old: %+v, %v", out, err)
	}
	if ok, err := l.cfg.Bucket.Exists(t.Context(), "other/thing"); err != nil || !ok {
		t.Error("what is no log went with them")
	}
}

func TestFailure(t *testing.T) {
	l := newLogs(t)
	w := create(t, l, "b1", nil)
	r := openLog(t, l, "b1")
	if f, err := r.Failure(t.Context()); f != nil || err != nil {
		t.Errorf("a log without failure: %+v, %v", f, err)
	}
	w.Mark("playbook", "run.yaml", "")
	w.Mark("task", "unit tests", "")
	w.Line("")
	w.Line("TASK [unit tests]")
	for i := range 20 {
		w.Line(fmt.Sprint("one | line ", i))
		w.Line("two | something else")
	}
	w.Mark("failure", "unit tests", "one")
	w.Line("one | ERROR")
	w.Line("one | {")
	w.Line("two | ok")
	w.Mark("failure", "clean up", "two")
	f, err := r.Failure(t.Context())
	if err != nil || f == nil || f.Playbook != "run.yaml" || f.Task != "unit tests" || f.Host != "one" || f.Line != 42 ||
		len(f.Lines) != 10 || f.Lines[0] != "one | line 12" || f.Lines[9] != "one | {" {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestAttachedFilesStayInTheirFolder(t *testing.T) {
	l := newLogs(t)
	for _, build := range []string{"aa1", "aa2"} {
		if err := l.Attach(t.Context(), build, "x.json", strings.NewReader("{}")); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"../aa2/x.json", "..", `..\x`, ".hidden"} {
		if _, err := l.Attached(t.Context(), "aa1", name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
