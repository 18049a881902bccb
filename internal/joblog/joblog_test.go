package joblog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"gocloud.dev/blob/memblob"
)

func newLogs(t testing.TB) *Logs {
	t.Helper()
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { bucket.Close() })
	l, err := New(Config{Dir: t.TempDir(), Bucket: bucket, Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

const stamp = "2026-01-02 03:04:05.000006 | "

func create(t testing.TB, l *Logs, build string, mask *Mask) *Writer {
	t.Helper()
	w, err := l.Create(build, mask)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func openLog(t testing.TB, l *Logs, build string) *Reader {
	t.Helper()
	r, err := l.Open(t.Context(), build)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestRangesLiveAndFinished(t *testing.T) {
	l := newLogs(t)
	w := create(t, l, "b1", nil)
	for i := range 1000 {
		if i == 500 {
			w.Mark("task", "second half", "")
		}
		w.Line(fmt.Sprint("line ", i))
	}
	check := func(t *testing.T) {
		r := openLog(t, l, "b1")
		for _, c := range []struct{ from, n, want int }{{0, 1, 1}, {63, 3, 3}, {64, 64, 64}, {999, 5, 1}, {1000, 5, 0}, {-1, 5, 0}, {0, 5000, 1000}} {
			lines, err := r.ReadLines(t.Context(), c.from, c.n)
			if err != nil || len(lines) != c.want {
				t.Fatalf("lines %d+%d: %d lines, %v", c.from, c.n, len(lines), err)
			}
			for i, line := range lines {
				if line != stamp+fmt.Sprint("line ", c.from+i) {
					t.Fatalf("line %d is %q", c.from+i, line)
				}
			}
		}
		b, err := r.ReadBytes(t.Context(), int64(len(stamp)), 6)
		if err != nil || string(b) != "line 0" {
			t.Errorf("bytes: %q %v", b, err)
		}
		if s := r.Index().Find("SECOND"); len(s) != 1 || s[0].From != 500 || s[0].To != 1000 {
			t.Errorf("the task is at %+v", s)
		}
	}
	t.Run("live", check)
	if err := w.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Run("finished", check)
	if _, err := l.Open(t.Context(), "b2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a log that is not there: %v", err)
	}
	if _, err := l.Open(t.Context(), "../b1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a path as build: %v", err)
	}
	if err := l.Remove(t.Context(), "b1"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Open(t.Context(), "b1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a removed log: %v", err)
	}
}

func TestFollowersSeeEveryLineOnce(t *testing.T) {
	l := newLogs(t)
	w := create(t, l, "b1", nil)
	const lines, followers = 3000, 50
	var wg sync.WaitGroup
	for k := range followers {
		r := openLog(t, l, "b1")
		wg.Go(func() {
			next := k
			err := r.Follow(context.Background(), k, func(first int, got []string) error {
				if first != next {
					return fmt.Errorf("line %d comes after %d", first, next-1)
				}
				for i, line := range got {
					if line != stamp+fmt.Sprint("line ", first+i) {
						return fmt.Errorf("line %d is %q", first+i, line)
					}
				}
				next += len(got)
				return nil
			})
			if err != nil || next != lines {
				t.Errorf("follower %d ended at %d: %v", k, next, err)
			}
		})
	}
	for i := range lines {
		w.Line(fmt.Sprint("line ", i))
	}
	if err := w.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

func TestSecretsAreMasked(t *testing.T) {
	m := &Mask{}
	m.Add("hunter22", "hunter22-longer", "first line\nsecond line", "abc")
	for in, want := range map[string]string{
		"password hunter22!":      "password ********!",
		"hunter22-longer":         Masked,
		"a first line and second": "a ******** and second",
		"short abc stays":         "short abc stays",
		"aHVudGVyMjI=":            Masked + "=",
	} {
		if got := m.String(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestSecretsAcrossPieces(t *testing.T) {
	m := &Mask{}
	const secret = "correct-horse-battery-staple"
	m.Add(secret)
	for cut := 1; cut < len(secret); cut++ {
		p := NewPieces(m)
		var out strings.Builder
		add := func(text string, more bool) {
			for _, s := range p.Add(text, more) {
				out.WriteString(s)
			}
		}
		// The secret lies across every border there can be: between pieces, and where a piece that is
		// too long to be kept is cut.
		add(strings.Repeat("x", held-cut)+secret[:cut], true)
		add(secret[cut:]+strings.Repeat("y", 100), true)
		add("z", false)
		if got := out.String(); strings.Contains(got, "horse") || strings.Contains(got, "battery") || len(got) != held-cut+len(Masked)+101 {
			t.Fatalf("cut at %d: %d bytes, ends %q", cut, len(got), got[len(got)-160:])
		}
	}
}

func TestOddText(t *testing.T) {
	l := newLogs(t)
	w := create(t, l, "b1", nil)
	w.Line("a\x00b\xffc\rd")
	w.Line("x" + strings.Repeat("é", Longest))
	r := openLog(t, l, "b1")
	lines, err := r.ReadLines(t.Context(), 0, 10)
	if err != nil || len(lines) != 4 || lines[0] != stamp+"a\uFFFDb\uFFFDc\u240Dd" {
		t.Fatalf("%d lines, first %q: %v", len(lines), lines[0], err)
	}
	for _, line := range lines[1:] {
		if strings.Trim(strings.TrimPrefix(line, stamp), "xé") != "" {
			t.Error("a character was cut in two")
		}
	}
}

func TestLogsOfAKilledProcessAreKept(t *testing.T) {
	l := newLogs(t)
	w := create(t, l, "b1", nil)
	w.Line("before")
	if _, err := w.file.WriteString("half a li"); err != nil {
		t.Fatal(err)
	}
	again, err := New(Config{Dir: l.cfg.Dir, Bucket: l.cfg.Bucket, Now: l.cfg.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := openLog(t, again, "b1")
	lines, err := r.ReadLines(t.Context(), 0, 10)
	if err != nil || strings.Join(lines, "\n") != stamp+"before\n"+stamp+"[The executor stopped here]" || !r.Index().Done {
		t.Errorf("%q %v", lines, err)
	}
}

func TestHandler(t *testing.T) {
	l := newLogs(t)
	w := create(t, l, "b1", nil)
	for i := range 100 {
		w.Line(fmt.Sprint("line ", i))
	}
	srv := httptest.NewServer(Handler(l, ""))
	defer srv.Close()
	get := func(path, span string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if span != "" {
			req.Header.Set("Range", span)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if code, text := get("/log/b1?from=98&n=5", ""); code != 200 || text != stamp+"line 98\n"+stamp+"line 99\n" {
		t.Errorf("lines: %d %q", code, text)
	}
	if code, text := get("/log/b1", fmt.Sprintf("bytes=%d-%d", len(stamp), len(stamp)+5)); code != 206 || text != "line 0" {
		t.Errorf("bytes: %d %q", code, text)
	}
	if code, _ := get("/log/none", ""); code != 404 {
		t.Errorf("no log: %d", code)
	}
	followed := make(chan string)
	go func() {
		_, text := get("/log/b1?from=99&follow", "")
		followed <- text
	}()
	w.Line("last")
	if err := w.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := <-followed; text != stamp+"line 99\n"+stamp+"last\n" {
		t.Errorf("followed: %q", text)
	}
}

// BenchmarkLine is one line with a mask of ten secrets.
func BenchmarkLine(b *testing.B) {
	l := newLogs(b)
	m := &Mask{}
	for i := range 10 {
		m.Add(fmt.Sprintf("a secret with number %d", i))
	}
	w := create(b, l, "b1", m)
	text := strings.Repeat("some output ", 8)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		w.Line(text)
	}
}

// BenchmarkOneTask is 100 MB of one task, written, masked, and read by one who follows.
func BenchmarkOneTask(b *testing.B) {
	const size = 100 << 20
	text := strings.Repeat("some output ", 8)
	m := &Mask{}
	m.Add("a secret that never comes")
	b.SetBytes(size)
	for n := 0; b.Loop(); n++ {
		l := newLogs(b)
		build := fmt.Sprint("b", n)
		w := create(b, l, build, m)
		r := openLog(b, l, build)
		got := make(chan int)
		go func() {
			read := 0
			_ = r.Follow(b.Context(), 0, func(_ int, lines []string) error { read += len(lines); return nil })
			got <- read
		}()
		lines := size / len(text)
		for range lines {
			w.Line(text)
		}
		if err := w.Finish(b.Context()); err != nil {
			b.Fatal(err)
		}
		if read := <-got; read != lines {
			b.Fatalf("%d of %d lines were read", read, lines)
		}
	}
}

// A job makes its log no longer in memory than a log may be, whatever its tasks are called.
func TestMarksAreBounded(t *testing.T) {
	logs := newLogs(t)
	mask := &Mask{}
	mask.Add("correct-horse")
	w, err := logs.Create("b1", mask)
	if err != nil {
		t.Fatal(err)
	}
	for range 100_010 {
		w.Mark("task", "t", "")
	}
	w, err = logs.Create("b2", mask)
	if err != nil {
		t.Fatal(err)
	}
	w.Mark("failure", strings.Repeat("name", 1<<20), "correct-horse")
	for build, want := range map[string]int{"b1": 100_000, "b2": 1} {
		r, err := logs.Open(t.Context(), build)
		if err != nil {
			t.Fatal(err)
		}
		marks := r.Index().Marks
		if last := marks[len(marks)-1]; len(marks) != want || len(last.Name) > 1100 || strings.Contains(last.Host, "horse") {
			t.Errorf("%s: %d marks, the last of %d bytes on %s", build, len(marks), len(last.Name), last.Host)
		}
		_ = r.Close()
	}
}
