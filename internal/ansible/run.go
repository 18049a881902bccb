package ansible

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Outcome is how one playbook run ended.
type Outcome string

// The outcomes of a playbook, with the names that banners in the job's log carry.
const (
	Normal      Outcome = "RESULT_NORMAL"
	TimedOut    Outcome = "RESULT_TIMED_OUT"
	Unreachable Outcome = "RESULT_UNREACHABLE"
	Aborted     Outcome = "RESULT_ABORTED"
)

// Process is a started program and all that it has started.
type Process interface {
	// Wait gives the exit code; -1 and more negative mean a signal.
	Wait() (code int, err error)
	// Kill ends the whole tree at once. It may be called at any time, also twice.
	Kill()
}

// Command is a program to be started. Extra files get the descriptors from 3 on.
type Command struct {
	Args  []string
	Env   []string
	Dir   string
	Out   io.Writer
	Extra []*os.File
}

// Starter starts a command, confined as it sees fit.
type Starter func(ctx context.Context, c Command) (Process, error)

// Playbook is one run of ansible-playbook.
type Playbook struct {
	// Path of the playbook, as the process sees it.
	Path string
	// Config is the ansible.cfg; Inventories come in order of growing precedence.
	Config      string
	Inventories []string
	// ExtraFiles are passed as -e @file, Extra as -e key=value, in this order: later wins.
	ExtraFiles []string
	Extra      [][2]string
	Env        []string
	Dir        string
	Verbose    bool
	// Chatter gets what Ansible itself prints, where it is not nil.
	Chatter io.Writer
	// Forks is how many hosts are worked on at once; 0 is 5.
	Forks int
	// Timeout bounds the run; 0 does not.
	Timeout time.Duration
	// Program is the argv before the arguments of ansible-playbook.
	Program []string
	Start   Starter
	// Event is called with each event, in order, from one goroutine.
	Event func(*Event)
}

// Result of a playbook run.
type Result struct {
	Outcome Outcome
	// Code is ansible-playbook's exit code, 0 unless Outcome is Normal or Unreachable.
	Code int
	// Hosts that could not be reached, in order.
	Unreachable []string
	// Failing: a task failed that nothing rescues.
	Failing bool
	// Output is the end of what Ansible itself printed (not the console): parse errors, warnings.
	Output string
}

// Run runs the playbook to its end, its timeout, or the end of ctx, and leaves no process behind. An
// error means that it could not be run at all.
func Run(ctx context.Context, p Playbook) (Result, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return Result{}, err
	}
	defer r.Close()
	var res Result
	out := &tail{limit: 16 << 10}
	var printed io.Writer = out
	if p.Chatter != nil {
		printed = io.MultiWriter(out, p.Chatter)
	}
	proc, err := p.Start(ctx, Command{
		Args: p.args(), Env: append(p.Env, "GOZER_EVENTS_FD=3", "ANSIBLE_CONFIG="+p.Config),
		Dir: p.Dir, Out: printed, Extra: []*os.File{w},
	})
	w.Close()
	if err != nil {
		return Result{}, fmt.Errorf("start ansible-playbook %s: %w", p.Path, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		readEvents(r, func(e *Event) {
			switch e.Kind {
			case "unreachable":
				if len(res.Unreachable) < mostUnreachable {
					res.Unreachable = append(res.Unreachable, e.Host)
				}
			case "failing":
				res.Failing = true
			}
			if p.Event != nil {
				p.Event(e)
			}
		})
	}()
	code, why, err := await(ctx, proc, p.Timeout)
	// Whatever still holds the pipe was left behind by the playbook; it gets a moment.
	_ = r.SetReadDeadline(time.Now().Add(2 * time.Second))
	<-done
	if err != nil {
		return Result{}, fmt.Errorf("run ansible-playbook %s: %w", p.Path, err)
	}
	res.Output = out.String()
	res.classify(code, why)
	return res, nil
}

// await waits for the process, and kills it when ctx or the timeout ends first.
func await(ctx context.Context, proc Process, timeout time.Duration) (code int, why Outcome, err error) {
	limit := make(<-chan time.Time)
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		limit = t.C
	}
	type exit struct {
		code int
		err  error
	}
	ended := make(chan exit, 1)
	go func() {
		c, err := proc.Wait()
		ended <- exit{c, err}
	}()
	select {
	case e := <-ended:
		return e.code, Normal, e.err
	case <-ctx.Done():
		why = Aborted
	case <-limit:
		why = TimedOut
	}
	proc.Kill()
	<-ended
	return -9, why, nil
}

func (r *Result) classify(code int, why Outcome) {
	r.Outcome, r.Code = why, code
	switch {
	case why != Normal:
		r.Code = 0
	case code < 0:
		r.Outcome, r.Code = Aborted, 0
	case code == 3, len(r.Unreachable) > 0,
		code == 2 && strings.Contains(r.Output, "FATAL ERROR DURING FILE TRANSFER"):
		r.Outcome = Unreachable
	}
}

func (p Playbook) args() []string {
	args := append([]string{}, p.Program...)
	for _, i := range p.Inventories {
		args = append(args, "-i", i)
	}
	for _, f := range p.ExtraFiles {
		args = append(args, "-e", "@"+f)
	}
	for _, kv := range p.Extra {
		args = append(args, "-e", kv[0]+"="+kv[1])
	}
	if p.Forks > 5 {
		args = append(args, "--forks", strconv.Itoa(p.Forks))
	}
	if p.Verbose {
		args = append(args, "-vvv")
	}
	return append(args, p.Path)
}

// mostUnreachable bounds how many hosts are remembered as unreachable: what runs in the playbook can tell of any.
const mostUnreachable = 10_000

// maxEvent bounds one event in memory; a longer one (a task that printed hundreds of megabytes) is
// dropped whole, and the log says so.
const maxEvent = 256 << 20

func readEvents(r io.Reader, f func(*Event)) {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readLine(in)
		if errors.Is(err, errTooLong) {
			f(&Event{Kind: "text", Text: "[a result of more than 256 MiB was dropped]"})
			continue
		}
		var e Event
		if json.Unmarshal(line, &e) == nil && e.Kind != "" {
			f(&e)
		}
		if err != nil {
			return
		}
	}
}

var errTooLong = errors.New("line too long")

func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > maxEvent {
			long, line = true, nil
		}
		if !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil && long:
			return nil, errTooLong
		}
		return bytes.TrimSpace(line), err
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu    sync.Mutex
	b     []byte
	limit int
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b) - t.limit; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
