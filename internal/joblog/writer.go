package joblog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// every is how many lines lie between two offsets of an index.
const every = 64

// Index tells where things are in a log.
type Index struct {
	Lines int   `json:"lines"`
	Bytes int64 `json:"bytes"`
	// Offsets has the byte at which every 64th line begins (0, 64, 128...).
	Offsets []int64 `json:"offsets"`
	Marks   []Mark  `json:"marks,omitempty"`
	// Done: nothing will be added.
	Done bool `json:"done"`
}

// Mark names the line at which something begins or happens.
type Mark struct {
	Line int `json:"line"`
	// Kind is phase, playbook, play, task or failure.
	Kind string    `json:"kind"`
	Name string    `json:"name"`
	Host string    `json:"host,omitempty"`
	At   time.Time `json:"at"`
}

// Writer appends to the log of one running build. It may be used by many at once.
type Writer struct {
	logs  *Logs
	build string
	mask  *Mask

	mu      sync.Mutex
	file    *os.File
	index   Index
	tail    tail
	changed chan struct{}
	// err is why lines are missing, the first time that it happened; lost counts those that are not told
	// of in the log yet.
	err  error
	lost int
}

// Create begins the log of a build, in which mask hides secrets; more may be added to the mask later.
// A log that an earlier attempt to run the same build left is replaced.
func (l *Logs) Create(build string, mask *Mask) (*Writer, error) {
	if err := checkBuild(build); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(l.path(build), os.O_CREATE|os.O_TRUNC|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	w := &Writer{logs: l, build: build, mask: mask, file: f, changed: make(chan struct{})}
	l.mu.Lock()
	l.live[build] = w
	l.mu.Unlock()
	return w, nil
}

// reopen takes up a log that another process left.
func (l *Logs) reopen(build string) (*Writer, error) {
	f, err := os.OpenFile(l.path(build), os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	w := &Writer{logs: l, build: build, file: f, changed: make(chan struct{})}
	in := bufio.NewReaderSize(f, 256<<10)
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		if err != nil {
			// A line that was not finished: it is cut off.
			err = f.Truncate(w.index.Bytes)
			if err != nil {
				return nil, err
			}
			break
		}
		w.count(len(line))
	}
	l.mu.Lock()
	l.live[build] = w
	l.mu.Unlock()
	return w, nil
}

func (w *Writer) count(n int) {
	if w.index.Lines%every == 0 {
		w.index.Offsets = append(w.index.Offsets, w.index.Bytes)
	}
	w.index.Lines++
	w.index.Bytes += int64(n)
}

// Stamp is the form of a line's time.
const Stamp = "2006-01-02 15:04:05.000000"

// Line adds text, which may hold several lines, with the time of now before each of them, and gives
// what was added. A full disk must not stop a build: what cannot be written is counted, told in the log
// when there is room again, and the first error is kept for Err and Finish.
func (w *Writer) Line(text string) string {
	var b strings.Builder
	stamp := w.logs.cfg.Now().UTC().Format(Stamp)
	for line := range strings.SplitSeq(text, "\n") {
		for _, piece := range split(w.mask.String(strings.TrimSuffix(line, "\r")), Longest) {
			b.WriteString(stamp)
			b.WriteString(" | ")
			b.WriteString(clean(piece))
			b.WriteByte('\n')
		}
	}
	w.append(b.String(), stamp)
	return b.String()
}

// clean replaces what would be taken for the end of a line or of the text.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.ContainsAny(s, "\x00\r") {
		return s
	}
	return strings.NewReplacer("\x00", "\uFFFD", "\r", "\u240D").Replace(s)
}

func (w *Writer) append(text, stamp string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return
	}
	n := strings.Count(text, "\n")
	if w.lost > 0 {
		text = fmt.Sprintf("%s | [%d lines of this log are lost: %v]\n", stamp, w.lost, w.err) + text
	}
	if _, err := w.file.WriteString(text); err != nil {
		w.lost += n
		if w.err == nil {
			w.err = fmt.Errorf("write the log of %s: %w", w.build, err)
		}
		// Half a line would spoil the index.
		_ = w.file.Truncate(w.index.Bytes)
		return
	}
	w.lost = 0
	w.added(text)
}

// added takes note of whole lines that were written.
func (w *Writer) added(text string) {
	for line := range strings.Lines(text) {
		w.count(len(line))
		w.tail.push(line)
	}
	w.wake()
}

// Err is why lines are missing; nil where none are.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Bounds of what a job can have noted of its log, all of which is in memory as long as it runs: marks, and the bytes
// of a name in one.
const (
	mostMarks   = 100_000
	longestName = 1 << 10
)

// Mark notes that the next line begins something. After 100,000 marks there are no more, and long names are cut.
func (w *Writer) Mark(kind, name, host string) {
	m := Mark{Kind: kind, Name: cut(w.mask.String(name)), Host: cut(w.mask.String(host)), At: w.logs.cfg.Now().UTC()}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.index.Marks) < mostMarks {
		m.Line = w.index.Lines
		w.index.Marks = append(w.index.Marks, m)
	}
}

func cut(name string) string {
	if len(name) <= longestName {
		return name
	}
	return strings.ToValidUTF8(name[:longestName], "") + "…"
}

func (w *Writer) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// Finish puts the log into the blob store and ends it; followers get the rest and end.
func (w *Writer) Finish(ctx context.Context) error {
	w.mu.Lock()
	if w.file == nil {
		w.mu.Unlock()
		return nil
	}
	w.index.Done = true
	index := w.index
	w.mu.Unlock()
	err := w.keep(ctx, index)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wake()
	if err != nil {
		// The file stays, and Recover tries again.
		return errors.Join(w.err, err)
	}
	w.file.Close()
	w.file = nil
	w.logs.mu.Lock()
	delete(w.logs.live, w.build)
	w.logs.mu.Unlock()
	return errors.Join(w.err, os.Remove(w.logs.path(w.build)))
}

// finished tells whether Finish was called, and could not do it.
func (w *Writer) finished() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.index.Done && w.file != nil
}

func (w *Writer) keep(ctx context.Context, index Index) error {
	err := w.logs.upload(ctx, blobName(w.build, consoleFile), io.NewSectionReader(w.file, 0, index.Bytes))
	if err != nil {
		return err
	}
	j, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return w.logs.upload(ctx, blobName(w.build, indexFile), bytes.NewReader(j))
}

// state is the index now, and a channel that is closed when there is more.
func (w *Writer) state() (Index, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.index
	i.Offsets = i.Offsets[:len(i.Offsets):len(i.Offsets)]
	i.Marks = i.Marks[:len(i.Marks):len(i.Marks)]
	return i, w.changed
}
