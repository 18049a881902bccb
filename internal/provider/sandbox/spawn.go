package sandbox

import (
	"errors"
	"os/exec"
	"runtime"
	"sync"
)

// spawner starts processes from one thread of the operating system that lives as long as it does. The
// kernel's "die with the parent" means the thread that forked, not the process: were nodes forked from
// any thread, the end of that thread would end them.
type spawner struct {
	calls chan func()
	stop  chan struct{}
	once  sync.Once
	ended chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{calls: make(chan func()), stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for {
			select {
			case f := <-s.calls:
				f()
			case <-s.stop:
				return
			}
		}
	}()
	return s
}

// start starts cmd.
func (s *spawner) start(cmd *exec.Cmd) error {
	err := make(chan error, 1)
	select {
	case s.calls <- func() { err <- cmd.Start() }:
		return <-err
	case <-s.stop:
		return errors.New("the provider is closed")
	}
}

// close ends the thread and, with it, whatever was started from it and still runs.
func (s *spawner) close() {
	s.once.Do(func() { close(s.stop) })
	<-s.ended
}
