package sandbox

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
)

// ErrClosed: the Sandbox was closed.
var ErrClosed = errors.New("the sandbox is closed")

// spawner starts processes from one thread of the operating system that lives as long as it does. The
// kernel's signal on the death of a parent is about the thread that forked; and a thread hands its system
// call filter on to whatever it starts, so that all of that is guarded from its first instruction on.
type spawner struct {
	calls chan func()
	stop  chan struct{}
	once  sync.Once
	ended chan struct{}
}

// newSpawner starts the thread, and with guarded installs the filter on it. listener answers the filter's
// questions; it is nil where there is no filter, and err says why there is none.
func newSpawner(guarded bool) (s *spawner, listener *os.File, err error) {
	s = &spawner{calls: make(chan func()), stop: make(chan struct{}), ended: make(chan struct{})}
	ready := make(chan struct{})
	go func() {
		defer close(s.ended)
		runtime.LockOSThread() // never unlocked: the thread, and its filter, end with the goroutine
		if guarded {
			listener, err = installFilter()
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
	}()
	<-ready
	return s, listener, err
}

// start starts cmd.
func (s *spawner) start(cmd *exec.Cmd) error {
	err := make(chan error, 1)
	select {
	case s.calls <- func() { err <- cmd.Start() }:
		return <-err
	case <-s.stop:
		return ErrClosed
	}
}

// close ends the thread and, with it, whatever was started from it and asked to end with its parent.
func (s *spawner) close() {
	s.once.Do(func() { close(s.stop) })
	<-s.ended
}
