package sandbox

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrClosed: the Sandbox or Spawner was closed.
var ErrClosed = errors.New("the sandbox is closed")

// SpawnerConfig of a Spawner. The zero value guards nothing.
type SpawnerConfig struct {
	Denied Denied
	// Home is what the commands have in the place of this machine's loopback.
	Home Home
	// Prepare, where not nil, is called once on the thread: what it does to the thread (a mount name space of its
	// own) holds for all commands.
	Prepare func()
	// Log may be nil.
	Log *slog.Logger
}

// Spawner starts commands from one thread of the operating system that lives as long as it does. The
// kernel's signal on the death of a parent is about the thread that forked; and a thread hands its system
// call filter on to whatever it starts, so that all of that is guarded from its first instruction on.
type Spawner struct {
	calls chan func()
	stop  chan struct{}
	once  sync.Once
	ended chan struct{}
	quiet func() // ends the guard
}

// NewSpawner starts the thread, and the guard of its commands where there is something to be guarded. An
// error says why they are not guarded; the Spawner can be used all the same.
func NewSpawner(c SpawnerConfig) (*Spawner, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Spawner{calls: make(chan func()), stop: make(chan struct{}), ended: make(chan struct{}), quiet: func() {}}
	binds := c.Home.Addr.IsValid()
	guarded := binds || len(c.Denied.Networks)+len(c.Denied.Services) > 0
	ready := make(chan struct{})
	var listener *os.File
	var err error
	onThread(func() {
		defer close(s.ended)
		if c.Prepare != nil {
			c.Prepare()
		}
		if guarded {
			listener, err = installFilter(binds)
		}
		close(ready)
		for {
			select {
			case f := <-s.calls:
				f()
			case <-s.stop:
				return
			}
		}
	})
	<-ready
	if listener == nil {
		return s, err
	}
	g := &guard{listener: listener, denied: c.Denied, home: c.Home, log: c.Log}
	s.quiet, err = g.start()
	return s, err
}

// onThread runs f on a thread of its own, which ends with it, with the filter and whatever else it has. It is not
// the process's first thread: that one does not end, and what is done to it shows as the process's.
func onThread(f func()) {
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		elsewhere := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(elsewhere)
			f()
		}()
		<-elsewhere
		runtime.UnlockOSThread()
	}()
}

// start answers until the function that it gives is called.
func (g *guard) start() (quiet func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return func() { g.listener.Close() }, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.serve(ctx, r)
	}()
	return func() {
		cancel()
		w.Close()
		<-done
		r.Close()
		g.listener.Close()
	}, nil
}

// Start starts cmd.
func (s *Spawner) Start(cmd *exec.Cmd) error {
	err := make(chan error, 1)
	select {
	case s.calls <- func() { err <- cmd.Start() }:
		return <-err
	case <-s.stop:
		return ErrClosed
	}
}

// Close ends the thread and, with it, whatever was started from it and asked to end with its parent.
func (s *Spawner) Close() {
	s.once.Do(func() {
		close(s.stop)
		<-s.ended
		s.quiet()
	})
}
