package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// Held is a sandbox that stands open, with nothing but a waiting shell in it, for a process that joins
// its name spaces. When it ends, all in it end.
type Held struct {
	*Process
	// PID is its first process, as this machine counts; Groups are the files that a process joins its
	// control groups by.
	PID    int
	Groups []string
	// Limits that a process sets for itself before it joins.
	Limits Limits
	stdin  *os.File
}

// Hold makes a sandbox and keeps it until Release, Kill, or the end of ctx.
func (s *Sandbox) Hold(ctx context.Context, b Box) (*Held, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer inR.Close()
	infoR, infoW, err := os.Pipe()
	if err != nil {
		inW.Close()
		return nil, err
	}
	defer infoR.Close()
	readyR, readyW, err := os.Pipe()
	if err != nil {
		inW.Close()
		infoW.Close()
		return nil, err
	}
	defer readyR.Close()
	// The shell speaks once everything is in place; bubblewrap has told its child's number before.
	c := Command{Args: []string{"/bin/sh", "-c", "echo >&4; exec 4>&-; read x"}, Env: []string{"PATH=/bin"}, Dir: "/", Stdin: inR, Extra: []*os.File{infoW, readyW}}
	said := &tail{}
	c.Stderr = said
	p, err := s.start(ctx, b, c, "--info-fd", "3")
	infoW.Close()
	readyW.Close()
	if err != nil {
		inW.Close()
		return nil, err
	}
	h := &Held{Process: p, Limits: b.Limits.alone(p.group), stdin: inW}
	h.Limits.Files, h.Limits.FileSize = b.Limits.Files, b.Limits.FileSize
	if p.group != nil {
		h.Groups = p.group.procs
	}
	if h.PID, err = readInfo(infoR, readyR); err != nil {
		h.Release()
		return nil, fmt.Errorf("make a sandbox: %w: %s", err, said)
	}
	return h, nil
}

// readInfo reads the number of the first process, and waits until the sandbox stands.
func readInfo(info, ready io.Reader) (int, error) {
	var said struct {
		Child int `json:"child-pid"`
	}
	if err := json.NewDecoder(info).Decode(&said); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		return 0, fmt.Errorf("it ended before it stood: %w", err)
	}
	return said.Child, nil
}

// Release ends the sandbox and waits until it is gone. The waiting shell goes first, so that bubblewrap
// can take leave of its children; killed at once it would leave them to the init of the machine.
func (h *Held) Release() {
	h.stdin.Close()
	late := time.AfterFunc(time.Second, h.Kill)
	defer late.Stop()
	_, _ = h.Wait()
}

// tail keeps the first few kilobytes that are written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	if len(t.b) < 4096 {
		t.b = append(t.b, p...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.b) }
