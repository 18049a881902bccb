package executor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gozer-ci/gozer/internal/pipeline"
)

// errDiskFull is the cause with which a build ends that wrote more than a build may.
var errDiskFull = errors.New("the build wrote more than it may")

// noRoom is the cause with which a build ends when the disk of the executor is full, whoever filled it. It says
// nothing about the job.
type noRoom struct{ text string }

func (n noRoom) Error() string { return n.text }

// leastRoom is what must be free on the disk of the executor for builds to go on.
const leastRoom = 16 << 20

// account looks every few seconds how much the build has written, and ends it when that is too much, or when the
// disk is full and no other build has written more.
func (b *build) account(ctx context.Context, stop context.CancelCauseFunc) {
	base := usage(b.dir.root)
	defer b.x.writes.forget(b.s.Build)
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// A job may remove the copies of its log; what is written there goes on.
		wrote := max(usage(b.dir.root)-base, b.console.wrote.Load())
		if b.x.writes.most(b.s.Build, wrote) {
			if err := b.room(wrote); err != nil {
				b.console.line("%v", err)
				stop(err)
				return
			}
		}
		if wrote > b.x.Limits.Disk {
			b.console.line("The build wrote more than %d MB on the executor, and is stopped", b.x.Limits.Disk>>20)
			stop(errDiskFull)
			return
		}
	}
}

// room says that the disk of the executor is full, if it is.
func (b *build) room(wrote int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(b.dir.root, &fs); err != nil || int64(fs.Bavail)*fs.Bsize >= leastRoom {
		return nil
	}
	return noRoom{fmt.Sprintf("The disk of executor %s is full (%d MB are free); the build, which wrote %d MB, is stopped and tried again",
		b.x.Host, int64(fs.Bavail)*fs.Bsize>>20, wrote>>20)}
}

// written is how much each running build has written.
type written struct {
	mu    sync.Mutex
	bytes map[pipeline.BuildID]int64
}

// most notes what a build has written, and tells whether no other has written more.
func (w *written) most(id pipeline.BuildID, n int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bytes == nil {
		w.bytes = map[pipeline.BuildID]int64{}
	}
	w.bytes[id] = n
	for other, m := range w.bytes {
		if m > n || m == n && other < id {
			return false
		}
	}
	return true
}

func (w *written) forget(id pipeline.BuildID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.bytes, id)
}

// usage is what the files below dir take on the disk, each counted once, however many names it has.
func usage(dir string) int64 {
	u := meter{seen: map[uint64]bool{}}
	u.walk(dir)
	return u.sum
}

// meter adds up what files take. The files are those of a job that may not want to be seen through.
type meter struct {
	sum  int64
	seen map[uint64]bool // files with several names
}

func (u *meter) walk(dir string) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, syscall.ENAMETOOLONG):
			u.deeper(path)
			return nil
		case err != nil:
			return nil // it was removed meanwhile
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		if !e.IsDir() && st.Nlink > 1 {
			if u.seen[st.Ino] {
				return nil
			}
			u.seen[st.Ino] = true
		}
		u.sum += st.Blocks * 512
		if e.IsDir() && st.Mode&0o500 != 0o500 {
			u.open(path)
		}
		return nil
	})
}

// open lets a folder be looked into from which a job took the permissions.
func (u *meter) open(path string) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_ = unix.Fchmodat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), 0o700, 0) // it may be gone
}

// deeper goes on in a folder whose path is too long to be named.
func (u *meter) deeper(path string) {
	parent, name := filepath.Split(path)
	at, err := unix.Open(parent, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(at)
	fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	u.walk(fmt.Sprintf("/proc/self/fd/%d/.", fd))
}

// acquire waits for a playbook's semaphores, at most for timeout (0: as long as it takes).
func (b *build) acquire(ctx context.Context, names []string, timeout time.Duration) (func(), error) {
	if len(names) == 0 {
		return func() {}, nil
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	b.console.line("Waiting for semaphores: %v", names)
	return b.x.Semaphores.Acquire(ctx, pipeline.Holder{Tenant: b.tenant, Pipeline: b.pipeline, Item: b.s.Item, Buildset: b.s.Buildset, Job: b.s.Job.ID},
		b.s.Semaphores, names)
}

// localSemaphores exclude playbooks of one process from each other.
type localSemaphores struct {
	mu    sync.Mutex
	held  map[string]int
	freed chan struct{}
}

func (l *localSemaphores) Acquire(ctx context.Context, h pipeline.Holder, defined map[string]pipeline.Semaphore, names []string) (func(), error) {
	room := func(n string) bool {
		d, ok := defined[n]
		return l.held[h.Tenant+"/"+n] < d.Max || !ok && l.held[h.Tenant+"/"+n] < 1
	}
	for {
		l.mu.Lock()
		if l.held == nil {
			l.held, l.freed = map[string]int{}, make(chan struct{})
		}
		// All or none, so that two playbooks can never wait for each other.
		if !slices.ContainsFunc(names, func(n string) bool { return !room(n) }) {
			for _, n := range names {
				l.held[h.Tenant+"/"+n]++
			}
			l.mu.Unlock()
			return sync.OnceFunc(func() { l.release(h.Tenant, names) }), nil
		}
		freed := l.freed
		l.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *localSemaphores) release(tenant string, names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range names {
		if l.held[tenant+"/"+n]--; l.held[tenant+"/"+n] == 0 {
			delete(l.held, tenant+"/"+n)
		}
	}
	close(l.freed)
	l.freed = make(chan struct{})
}
