// Package joblog keeps the console logs of builds. While a build runs its log is a file that one writer
// appends to and many readers follow; when it ends, the log goes to a blob store together with an index,
// and is read from there in the same way. Readers ask for ranges by line or by byte, and can follow from
// any line on; whoever lost the connection goes on at the line where it stopped. Secrets are masked
// before a byte is written, also where they lie across the border of two chunks. Which lines a log has is
// the executor's business; serving browsers, that of web.
package joblog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// ErrNotFound: there is no log of that build here.
var ErrNotFound = errors.New("no log of this build")

// Config of Logs.
type Config struct {
	// Dir holds the logs of running builds.
	Dir string
	// Bucket keeps finished logs.
	Bucket *blob.Bucket
	// Elsewhere tells where the log of a build is written that another process runs: its Handler, as a
	// member of the installation reaches it. ErrNotFound where nobody runs it. nil: all run here.
	Elsewhere func(ctx context.Context, build string) (Peer, error)
	// Client is how other processes are reached; nil is http.DefaultClient.
	Client *http.Client
	Now    func() time.Time
	Log    *slog.Logger
}

// Logs are the logs of builds: those that run in this process, and all that are finished.
type Logs struct {
	cfg     Config
	mu      sync.Mutex
	live    map[string]*Writer
	mirrors map[string]*mirror
}

// New opens the logs, and makes the folder where it is missing.
func New(c Config) (*Logs, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Client == nil {
		c.Client = http.DefaultClient
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	old, err := filepath.Glob(filepath.Join(c.Dir, "*.mirror"))
	if err != nil {
		return nil, err
	}
	for _, m := range old {
		_ = os.Remove(m) // a copy that a killed process left; the log itself is elsewhere
	}
	return &Logs{cfg: c, live: map[string]*Writer{}, mirrors: map[string]*mirror{}}, nil
}

var validBuild = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$`)

func checkBuild(build string) error {
	if !validBuild.MatchString(build) {
		return fmt.Errorf("%q is no build id", build)
	}
	return nil
}

// Blob names of what is kept for a build: the console, its index, and other files by name
// (job-output.json).
func blobName(build, file string) string {
	return build[:min(2, len(build))] + "/" + build + "/" + file
}

const (
	consoleFile = "job-output.txt"
	indexFile   = "index.json"
)

// Attach keeps a further file for a build.
func (l *Logs) Attach(ctx context.Context, build, name string, r io.Reader) error {
	if err := checkBuild(build); err != nil {
		return err
	}
	if !fileName(name) {
		return fmt.Errorf("%q is no file name", name)
	}
	return l.upload(ctx, blobName(build, name), r)
}

// fileName tells whether a name is that of one file, and leads nowhere else.
func fileName(name string) bool {
	return !strings.ContainsAny(name, "/\\") && !strings.HasPrefix(name, ".")
}

// Attached opens a file kept by Attach. ErrNotFound where there is none.
func (l *Logs) Attached(ctx context.Context, build, name string) (io.ReadCloser, error) {
	if checkBuild(build) != nil || !fileName(name) {
		return nil, ErrNotFound
	}
	r, err := l.cfg.Bucket.NewReader(ctx, blobName(build, name), nil)
	return r, notFound(err)
}

func (l *Logs) upload(ctx context.Context, name string, r io.Reader) error {
	// Without the cancel a reader that fails half-way would leave half a blob behind.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := l.cfg.Bucket.NewWriter(ctx, name, nil)
	if err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	if _, err := io.Copy(w, r); err != nil {
		cancel()
		w.Close()
		return fmt.Errorf("keep %s: %w", name, err)
	}
	return w.Close()
}

func notFound(err error) error {
	if err != nil && gcerrors.Code(err) == gcerrors.NotFound {
		return ErrNotFound
	}
	return err
}

// Recover finishes the logs that a process left behind when it was killed, and those that could not be
// put into the blob store before.
func (l *Logs) Recover(ctx context.Context) error {
	entries, err := os.ReadDir(l.cfg.Dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		build, ok := strings.CutSuffix(e.Name(), ".log")
		l.mu.Lock()
		live := l.live[build]
		l.mu.Unlock()
		if !ok || checkBuild(build) != nil {
			continue
		}
		if live != nil {
			if live.finished() {
				errs = append(errs, live.Finish(ctx))
			}
			continue
		}
		w, err := l.reopen(build)
		if err == nil {
			w.Line("[The executor stopped here]")
			err = w.Finish(ctx)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Remove deletes everything that is kept of a finished build. Nothing there is no error.
func (l *Logs) Remove(ctx context.Context, build string) error {
	if err := checkBuild(build); err != nil {
		return err
	}
	it := l.cfg.Bucket.List(&blob.ListOptions{Prefix: blobName(build, "")})
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := notFound(l.cfg.Bucket.Delete(ctx, o.Key)); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
}

func (l *Logs) path(build string) string { return filepath.Join(l.cfg.Dir, build+".log") }
