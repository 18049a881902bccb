package joblog

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"gocloud.dev/blob"
)

// Reader reads one log, live or finished. Close it.
type Reader struct {
	writer *Writer // nil: finished
	leave  func()  // nil: nobody has to know
	index  Index
	open   func(ctx context.Context, offset, length int64) (io.ReadCloser, error)
	file   *os.File
}

// Open opens the log of a build that runs, here or elsewhere, or is finished. ErrNotFound where there is
// none.
func (l *Logs) Open(ctx context.Context, build string) (*Reader, error) {
	if err := checkBuild(build); err != nil {
		return nil, ErrNotFound
	}
	l.mu.Lock()
	w := l.live[build]
	l.mu.Unlock()
	if w != nil {
		if f, err := os.Open(l.path(build)); err == nil {
			return liveReader(w, f), nil
		}
		// It was finished in between.
	}
	if r := l.mirrored(build); r != nil {
		return r, nil
	}
	r, err := l.kept(ctx, build)
	if errors.Is(err, ErrNotFound) && l.cfg.Elsewhere != nil {
		return l.follow(ctx, build)
	}
	return r, err
}

// kept opens a finished log.
func (l *Logs) kept(ctx context.Context, build string) (*Reader, error) {
	b, err := l.cfg.Bucket.ReadAll(ctx, blobName(build, indexFile))
	if err != nil {
		return nil, notFound(err)
	}
	r := &Reader{open: func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
		return l.cfg.Bucket.NewRangeReader(ctx, blobName(build, consoleFile), offset, length, &blob.ReaderOptions{})
	}}
	if err := json.Unmarshal(b, &r.index); err != nil {
		return nil, fmt.Errorf("read the index of the log of %s: %w", build, err)
	}
	return r, nil
}

// liveReader holds the file open, so that it can be read to its end even when the log is finished and
// the file removed meanwhile.
func liveReader(w *Writer, f *os.File) *Reader {
	return &Reader{writer: w, file: f, open: func(_ context.Context, offset, length int64) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(f, offset, length)), nil
	}}
}

// Close ends reading.
func (r *Reader) Close() error {
	if r.leave != nil {
		r.leave()
	}
	if r.file != nil {
		return r.file.Close()
	}
	return nil
}

// Index is how the log stands now.
func (r *Reader) Index() Index {
	i, _ := r.state()
	return i
}

func (r *Reader) state() (Index, <-chan struct{}) {
	if r.writer != nil {
		return r.writer.state()
	}
	return r.index, nil
}

// Bounds of how much text is given at once, in bytes: of what is asked for, and of what is followed.
const (
	mostAsked    = 32 << 20
	mostFollowed = 1 << 20
)

// ReadLines gives at most n lines from line from (0 is the first) on, without line ends; fewer, or
// none, where the log ends, and fewer where they are very long.
func (r *Reader) ReadLines(ctx context.Context, from, n int) ([]string, error) {
	i, _ := r.state()
	return r.lines(ctx, i, from, n, mostAsked)
}

// lines reads lines, at least one and then no more than room bytes.
func (r *Reader) lines(ctx context.Context, i Index, from, n, room int) ([]string, error) {
	n = min(n, i.Lines-from)
	if n <= 0 || from < 0 {
		return nil, nil
	}
	if r.writer != nil {
		if out := r.writer.recent(from, n, room); out != nil {
			return out, nil
		}
	}
	start := i.Offsets[from/every]
	end := i.Bytes
	if last := (from + n + every - 1) / every; last < len(i.Offsets) {
		end = i.Offsets[last]
	}
	f, err := r.open(ctx, start, end-start)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, int(min(128<<10, max(end-start, 4<<10))))
	out := make([]string, 0, n)
	for k := from / every * every; k < from+n; k++ {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("read line %d: %w", k, err)
		}
		if k < from {
			continue
		}
		if room -= len(line); room < 0 && len(out) > 0 {
			break
		}
		out = append(out, strings.TrimSuffix(line, "\n"))
	}
	return out, nil
}

// ReadBytes gives at most n bytes from offset on.
func (r *Reader) ReadBytes(ctx context.Context, offset int64, n int) ([]byte, error) {
	i, _ := r.state()
	n = int(min(int64(n), i.Bytes-offset))
	if n <= 0 || offset < 0 {
		return nil, nil
	}
	f, err := r.open(ctx, offset, int64(n))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	_, err = io.ReadFull(f, b)
	return b, err
}

// batch is how many lines Follow gives at once.
const batch = 1000

// Follow gives the lines from line from on, as they come, and returns when the log is finished and all
// of it was given, when ctx ends, or with the error of f. first is the number of the first of lines.
func (r *Reader) Follow(ctx context.Context, from int, f func(first int, lines []string) error) error {
	from = max(from, 0)
	for {
		i, more := r.state()
		for from < i.Lines {
			lines, err := r.lines(ctx, i, from, batch, mostFollowed)
			if err != nil {
				return err
			}
			if err := f(from, lines); err != nil {
				return err
			}
			from += len(lines)
		}
		if i.Done {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// modified is the time of the last mark of a log that is done; zero where it can still grow.
func (r *Reader) modified() (t time.Time) {
	if i := r.Index(); i.Done && len(i.Marks) > 0 {
		t = i.Marks[len(i.Marks)-1].At
	}
	return t
}
