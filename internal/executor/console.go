package executor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/joblog"
)

// console is the log of one build: the live log that people follow, the copy in the workspace that jobs
// upload, and job-output.json.
type console struct {
	log  *joblog.Writer
	mask *joblog.Mask
	// wrote counts the bytes of the log and of job-output.json.
	wrote atomic.Int64

	mu      sync.Mutex
	text    *os.File // nil: the job may not have a copy any more
	json    *os.File
	records int
	pieces  map[string]*joblog.Pieces
	task    string
	failed  *failure
	recent  []string
	// failing matches output that tells of failure; found is called once.
	failing []*regexp.Regexp
	found   func()
}

// mostStreams bounds the streams of hosts of which an unfinished line is kept.
const mostStreams = 4096

// failure is the first thing that went wrong in a playbook and was not rescued, for the explanation.
type failure struct {
	task, host, text, path string
	lines                  []string
}

// newConsole opens the files of a workspace's logs folder, before anything runs in it.
func newConsole(w *joblog.Writer, mask *joblog.Mask, dir jobDir) (*console, error) {
	c := &console{log: w, mask: mask, pieces: map[string]*joblog.Pieces{}}
	var err error
	if c.text, err = os.OpenFile(dir.join("work", "logs", "job-output.txt"), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
		return nil, err
	}
	if c.json, err = os.OpenFile(dir.join("work", "logs", "job-output.json"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644); err != nil {
		return nil, err
	}
	_, err = c.json.WriteString("[]")
	return c, err
}

func (c *console) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Close()
	c.json.Close()
}

// line adds text to the log.
func (c *console) line(format string, args ...any) {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	added := c.log.Line(text)
	c.wrote.Add(int64(len(added)))
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.text.WriteString(added) // a full disk must not end the build; the accountant does
	for l := range strings.Lines(added) {
		c.recent = append(c.recent, strings.TrimSpace(l[min(len(l), len(joblog.Stamp)+3):]))
	}
	if n := len(c.recent) - 20; n > 0 {
		c.recent = append(c.recent[:0], c.recent[n:]...)
	}
}

// event writes what a playbook told.
func (c *console) event(e *ansible.Event) {
	switch e.Kind {
	case "play", "task":
		c.log.Mark(e.Kind, e.Name, "")
		c.task = e.Name
	case "result":
		if e.State == "failed" && !e.Rescued {
			c.fail(e, e.Reason())
		}
	case "unreachable":
		c.fail(e, "unreachable: "+e.Text)
	case "line":
		c.output(e)
		return
	}
	for _, l := range e.Lines() {
		c.line("%s", l)
	}
}

// begin is told before each playbook: what failed in one explains no other.
func (c *console) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = nil
}

func (c *console) fail(e *ansible.Event, text string) {
	c.log.Mark("failure", e.Task, e.Host)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = &failure{task: c.mask.String(e.Task), host: c.mask.String(e.Host), text: c.mask.String(strings.TrimSpace(text)), path: e.Path, lines: append([]string{}, c.recent...)}
	}
}

// output writes one line, or a piece of one, that a command printed.
func (c *console) output(e *ansible.Event) {
	for _, re := range c.failing {
		if loc := re.FindStringIndex(e.Text); loc != nil && loc[0] == 0 {
			c.found()
			break
		}
	}
	id := e.Host + "\x00" + e.Stream
	p := c.pieces[id]
	if p == nil {
		if len(c.pieces) == mostStreams {
			clear(c.pieces) // a job makes names up: it loses the beginnings of lines
		}
		p = joblog.NewPieces(c.mask)
		c.pieces[id] = p
	}
	for _, text := range p.Add(e.Text, e.More) {
		shown := *e
		shown.Text = text
		c.line("%s", shown.Lines()[0])
	}
}

// record is a playbook's results on their way to job-output.json: in a file without a name until they are
// whole, however large they are.
type record struct {
	file   *os.File
	out    *bufio.Writer
	pieces *joblog.Pieces
	wrote  *atomic.Int64
	lost   bool
}

// newRecord begins a record with what is known of its playbook.
func (c *console) newRecord(dir string, about map[string]any) (*record, error) {
	f, err := os.CreateTemp(dir, "record-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	r := &record{file: f, out: bufio.NewWriter(f), pieces: joblog.NewPieces(c.mask), wrote: &c.wrote}
	text, err := json.Marshal(about)
	if err == nil {
		_, err = r.out.WriteString(c.mask.String(strings.TrimSuffix(string(text), "}")) + ", ")
	}
	if err != nil {
		f.Close()
	}
	return r, err
}

// add takes the next piece.
func (r *record) add(text string, more bool) error {
	for _, s := range r.pieces.Add(text, more) {
		r.wrote.Add(int64(len(s)))
		if _, err := r.out.WriteString(s); err != nil {
			return err
		}
	}
	return nil
}

// keep appends a whole record to job-output.json, which is whole before and after it.
func (c *console) keep(r *record) error {
	if _, err := r.out.WriteString("}\n]"); err != nil {
		return err
	}
	if err := r.out.Flush(); err != nil {
		return err
	}
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Over the closing bracket.
	end, err := c.json.Seek(-1, io.SeekEnd)
	if err != nil {
		return err
	}
	sep := "\n"
	if c.records > 0 {
		sep = ",\n"
	}
	if _, err = c.json.WriteString(sep); err == nil {
		_, err = io.Copy(c.json, r.file)
	}
	if err != nil {
		_, again := c.json.WriteAt([]byte("]"), end)
		return errors.Join(err, again, c.json.Truncate(end+1))
	}
	c.records++
	return nil
}
