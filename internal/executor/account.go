package executor

import (
	"context"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/gozer-ci/gozer/internal/pipeline"
)

// account looks every few seconds how much the build has written, and ends it when that is too much.
func (b *build) account(ctx context.Context, stop context.CancelCauseFunc) {
	base := usage(b.dir.root)
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if usage(b.dir.root)-base > b.x.Limits.Disk {
			b.console.line("The build wrote more than %d MB on the executor, and is stopped", b.x.Limits.Disk>>20)
			stop(errDiskFull)
			return
		}
	}
}

// usage is what the files below dir take on the disk. Files with several names are shared with others
// and not counted.
func usage(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it was removed meanwhile
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && (st.Nlink == 1 || e.IsDir()) {
			sum += st.Blocks * 512
		}
		return nil
	})
	return sum
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
