package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/gozer-ci/gozer/internal/gatetest/port"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/settings"
)

// s3 is a real S3 server on a folder (versitygw, a module of its own in test/s3, so that nothing of it is in gozer).
type s3 struct {
	t    *testing.T
	bin  string
	dir  string
	addr string
	cmd  *exec.Cmd
}

const s3Key, s3Secret = "gozer-test", "gozer-test-secret"

func newS3(t *testing.T) *s3 {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: building an S3 server takes a minute")
	}
	s := &s3{t: t, bin: filepath.Join(t.TempDir(), "versitygw"), dir: t.TempDir(), addr: port.Own(t)}
	build := exec.CommandContext(t.Context(), "go", "build", "-C", filepath.Join("..", "..", "test", "s3"), "-o", s.bin, "github.com/versity/versitygw/cmd/versitygw")
	build.Env = append(os.Environ(), "GOFLAGS=-mod=readonly")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("SKIP: the S3 server cannot be built here: %v\n%s", err, out)
	}
	for _, d := range []string{"data/builds", "meta"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", s3Key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3Secret)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	t.Cleanup(s.stop)
	s.start()
	return s
}

func (s *s3) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.bin, "--port", s.addr, "--access", s3Key, "--secret", s3Secret, "--region", "us-east-1", "--quiet",
		"posix", "--sidecar", filepath.Join(s.dir, "meta"), filepath.Join(s.dir, "data"))
	var out logBuffer
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 4800 {
		if c, err := net.Dial("tcp", s.addr); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	s.t.Fatalf("the S3 server does not answer:\n%s", &out)
}

func (s *s3) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGKILL)
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func (s *s3) url(bucket string) string {
	return "s3://" + bucket + "?endpoint=http://" + s.addr + "&region=us-east-1&use_path_style=true"
}

// openTestBlobs opens a blob store as a server does.
func openTestBlobs(t *testing.T, url string, log *slog.Logger) (*blob.Bucket, error) {
	t.Helper()
	p := &process{set: &settings.Settings{Blobs: settings.Blobs{URL: url}}, log: log}
	t.Cleanup(p.close)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	return p.openBlobs(ctx)
}

// Every kind of blob store keeps the same promises, those that logs rely upon.
func TestBlobStores(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	t.Run("folder", func(t *testing.T) {
		b, err := openTestBlobs(t, "file://"+filepath.Join(t.TempDir(), "blobs"), quiet)
		if err != nil {
			t.Fatal(err)
		}
		blobPromises(t, b)
	})
	t.Run("S3", func(t *testing.T) {
		s := newS3(t)
		b, err := openTestBlobs(t, s.url("builds"), quiet)
		if err != nil {
			t.Fatal(err)
		}
		t.Run("promises", func(t *testing.T) { blobPromises(t, b) })
		t.Run("refuses", func(t *testing.T) { s3Refuses(t, s) })
		t.Run("away", func(t *testing.T) { logsWhileS3IsAway(t, s, b) })
	})
}

func blobPromises(t *testing.T, b *blob.Bucket) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	list := func(prefix string) (names []string) {
		t.Helper()
		it := b.List(&blob.ListOptions{Prefix: prefix})
		for {
			o, err := it.Next(ctx)
			if errors.Is(err, io.EOF) {
				return names
			}
			must(err)
			if o.ModTime.IsZero() || o.Size == 0 {
				t.Errorf("%s is listed with size %d, of %v", o.Key, o.Size, o.ModTime)
			}
			names = append(names, o.Key)
		}
	}
	// Larger than what is sent in one piece.
	large := make([]byte, 12<<20)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(large); i++ {
		large[i] = byte(r.Uint32())
	}
	must(b.WriteAll(ctx, "ab/abc/job-output.txt", large, nil))
	got, err := b.ReadAll(ctx, "ab/abc/job-output.txt")
	if must(err); !bytes.Equal(got, large) {
		t.Error("what is read is not what was written")
	}
	for _, span := range [][2]int64{{0, 10}, {5<<20 - 3, 7}, {12<<20 - 5, 100}, {12<<20 - 5, -1}} {
		r, err := b.NewRangeReader(ctx, "ab/abc/job-output.txt", span[0], span[1], nil)
		must(err)
		part, err := io.ReadAll(r)
		must(errors.Join(err, r.Close()))
		want := large[span[0]:]
		if span[1] >= 0 {
			want = want[:min(span[1], int64(len(want)))]
		}
		if !bytes.Equal(part, want) {
			t.Errorf("%d bytes from %d on: got %d others", span[1], span[0], len(part))
		}
	}
	must(b.WriteAll(ctx, "ab/abc/index.json", []byte("{}"), nil))
	must(b.WriteAll(ctx, "ab/abd/index.json", []byte("old"), nil))
	must(b.WriteAll(ctx, "ab/abd/index.json", []byte("new"), nil))
	if got, err := b.ReadAll(ctx, "ab/abd/index.json"); string(got) != "new" {
		t.Errorf("written twice, it is %q, %v", got, err)
	}
	if got, want := list("ab/abc/"), []string{"ab/abc/index.json", "ab/abc/job-output.txt"}; !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	if got := list(""); len(got) != 3 {
		t.Errorf("all that there is: %v", got)
	}
	must(b.Delete(ctx, "ab/abc/index.json"))
	if _, err := b.ReadAll(ctx, "ab/abc/index.json"); gcerrors.Code(err) != gcerrors.NotFound {
		t.Errorf("what was deleted reads as %v", err)
	}
	if _, err := b.NewRangeReader(ctx, "ab/never/was", 0, 1, nil); gcerrors.Code(err) != gcerrors.NotFound {
		t.Errorf("what never was reads as %v", err)
	}
	// Nothing is there of what was given up.
	wctx, cancel := context.WithCancel(ctx)
	w, err := b.NewWriter(wctx, "ab/abe/half", nil)
	must(err)
	_, _ = w.Write(large[:6<<20])
	cancel()
	if err := w.Close(); err == nil {
		t.Error("what was given up was kept")
	}
	if got := list("ab/abe/"); len(got) != 0 {
		t.Errorf("what was given up left %v", got)
	}
}

// What is wrong with the configuration is said when the server starts; a store that is only away is waited for.
func s3Refuses(t *testing.T, s *s3) {
	var log bytes.Buffer
	lg := slog.New(slog.NewTextHandler(&log, nil))
	if _, err := openTestBlobs(t, s.url("nothing"), lg); err == nil || !strings.Contains(err.Error(), "has no bucket") {
		t.Errorf("a bucket that is not there: %v", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	if _, err := openTestBlobs(t, s.url("builds"), lg); err == nil || !strings.Contains(err.Error(), "correct the credentials") {
		t.Errorf("a wrong secret: %v", err)
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
	s.stop()
	if _, err := openTestBlobs(t, s.url("builds"), lg); err != nil || !strings.Contains(log.String(), "logs wait until it does") {
		t.Errorf("a server that is away: %v, logged %s", err, &log)
	}
	s.start()
}

// The log of a build that ends while the store is away stays with its executor, can be read there, and is kept when the
// store is back; what is old goes.
func logsWhileS3IsAway(t *testing.T, s *s3, b *blob.Bucket) {
	dir := t.TempDir()
	open := func(dir string) *joblog.Logs {
		t.Helper()
		l, err := joblog.New(joblog.Config{Dir: dir, Bucket: b})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	here := open(dir)
	w, err := here.Create("build-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Line("hello from the build")
	s.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := w.Finish(ctx); err == nil {
		t.Fatal("the log was kept, and the store is away")
	}
	read := func(l *joblog.Logs) string {
		t.Helper()
		r, err := l.Open(ctx, "build-1")
		if err != nil {
			return err.Error()
		}
		defer r.Close()
		lines, err := r.ReadLines(ctx, 0, 10)
		if err != nil {
			return err.Error()
		}
		return strings.Join(lines, "\n")
	}
	if got := read(here); !strings.Contains(got, "hello from the build") {
		t.Errorf("while the store is away the log reads %q", got)
	}
	s.start()
	if err := here.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	elsewhere := open(t.TempDir())
	if got := read(elsewhere); !strings.Contains(got, "hello from the build") {
		t.Errorf("in another process the log reads %q", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("the executor still has %v, %v", left, err)
	}
	if out, err := elsewhere.Expire(ctx, joblog.Retention{Max: 1}); err != nil || out.Left != 0 {
		t.Errorf("Expire = %+v, %v", out, err)
	}
	if _, err := elsewhere.Open(ctx, "build-1"); !errors.Is(err, joblog.ErrNotFound) {
		t.Errorf("what was old is still there: %v", err)
	}
}
