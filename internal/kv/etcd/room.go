package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"golang.org/x/sys/unix"
)

// etcd ends its process when a write to its files fails, and refuses writes for good once its database has
// reached the quota. Neither may happen to a member that runs inside Gozer. So a member watches the disk and the
// size of its database: it raises etcd's own alarm NOSPACE before the disk is full, with which the whole cluster
// refuses what takes room and still lets deletes and leases through, and takes the alarm back when there is room.

const (
	// DefaultReserve is what must be free on the disk of a member: etcd lays out the files of its log 64 MB at a
	// time, and does not outlive it when one cannot be made.
	DefaultReserve = 128 << 20
	// ahead is how much of the disk is taken for the database before it grows into it, so that another
	// program that fills the disk from one moment to the next does not find it in the middle of a write.
	ahead = 16 << 20
	// watchRoom is how often a member looks.
	watchRoom = 250 * time.Millisecond
)

// toBegin looks whether the log has the room that it takes at each start: its present file is laid out anew, and the
// next one beside it, or both where there is none. Where either fails etcd ends the process, at once, or when the log
// gets there, be there room again or not.
func toBegin(dir string) error {
	folder := filepath.Join(dir, "member", "wal")
	there, err := filepath.Glob(filepath.Join(folder, "*.wal"))
	if err != nil {
		return err
	}
	need := wal.SegmentSizeBytes
	if len(there) == 0 {
		need *= 2
	}
	// A process that was killed leaves the next file behind, which is used.
	left, err := filepath.Glob(filepath.Join(folder, "*.tmp"))
	if err != nil {
		return err
	}
	for _, f := range left {
		var st unix.Stat_t
		if err := unix.Stat(f, &st); err == nil {
			need -= st.Blocks * 512
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("ask for the room of %s: %w", dir, err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < need {
		return fmt.Errorf("the disk of %s is full: %d MB are free, and the log of the store takes %d MB to begin: make room", dir, free/1_000_000, need/1_000_000)
	}
	return nil
}

// room watches over what a member may write.
type room struct {
	dir            string
	reserve, quota int64
	server         *etcdserver.EtcdServer
	warn           func(msg string, args ...any)
	settled        time.Time

	mu  sync.Mutex
	why error
}

// Full tells why this member lets nobody write that needs room; nil where it does.
func (m *Member) Full() error {
	if m.room == nil {
		return nil
	}
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	return m.room.why
}

// watch looks until ctx ends.
func (r *room) watch(ctx context.Context) {
	tick := time.NewTicker(watchRoom)
	defer tick.Stop()
	told := ""
	for {
		err := r.look(ctx)
		if err != nil && ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			r.warn("the room on the disk cannot be watched", "error", err)
		} else if err == nil {
			told = ""
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look raises the alarm or takes it back, as is due.
func (r *room) look(ctx context.Context) error {
	raised := r.raised()
	why, err := r.lack(raised)
	if err != nil {
		return err
	}
	if raised && why == nil {
		why = r.shrink(ctx)
	}
	r.mu.Lock()
	news := (why == nil) != (r.why == nil)
	r.why = why
	r.mu.Unlock()
	if news && why != nil {
		r.warn("the store takes nothing new until there is room", "error", why)
	}
	if raised == (why != nil) {
		return r.forgotten(ctx)
	}
	action := pb.AlarmRequest_DEACTIVATE
	if why != nil {
		action = pb.AlarmRequest_ACTIVATE
	}
	if err := r.alarm(ctx, action, uint64(r.server.MemberID())); err != nil {
		return err
	}
	if why == nil {
		r.warn("the store has room again")
	}
	return nil
}

// lack says what is missing on the disk. Once the alarm is raised, some more must be free than before, so that it
// does not come and go.
func (r *room) lack(raised bool) (why, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(r.dir, &fs); err != nil {
		return nil, fmt.Errorf("ask for the room of %s: %w", r.dir, err)
	}
	free, want := int64(fs.Bavail)*fs.Bsize, r.reserve
	if raised {
		want += r.reserve / 8
	}
	if free < want {
		return fmt.Errorf("the disk of %s has %d MiB free, and %d MiB are kept for the store: make room, or lower store.reserve", r.dir, free>>20, want>>20), nil
	}
	// Not every file system can do this; then the reserve alone has to do.
	if err := r.ahead(); errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("the database in %s cannot grow: %w: make room", r.dir, err), nil
	}
	return nil, nil
}

// ahead takes the room into which the database grows next.
func (r *room) ahead() error {
	f, err := os.OpenFile(filepath.Join(r.dir, "member", "snap", "db"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Blocks*512 >= st.Size+ahead {
		return nil
	}
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, st.Size+ahead)
}

// shrink makes the database smaller than its quota, if what is in it allows that; otherwise it says so.
// Compaction only makes room inside the file.
func (r *room) shrink(ctx context.Context) error {
	b, most := r.server.Backend(), r.quota-r.quota/10
	if b.Size() < most {
		return nil
	}
	if b.SizeInUse() >= most && time.Since(r.settled) > 2*time.Second {
		r.settled = time.Now()
		// Whoever still watches the past reads the present again, which is better than to wait.
		if _, err := r.server.Compact(ctx, &pb.CompactionRequest{Revision: r.server.KV().Rev(), Physical: true}); err != nil && !errors.Is(err, mvcc.ErrCompacted) {
			return fmt.Errorf("compact the database in %s: %w", r.dir, err)
		}
		settle(b)
	}
	if b.SizeInUse() >= most {
		return fmt.Errorf("the database in %s holds %d MiB, and its quota is %d MiB: raise store.quota", r.dir, b.SizeInUse()>>20, r.quota>>20)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(r.dir, &fs); err == nil && int64(fs.Bavail)*fs.Bsize < b.SizeInUse()+r.reserve/2 {
		return fmt.Errorf("the database in %s has reached its quota of %d MiB, and the disk has not the %d MiB free that it takes to pack it: make room", r.dir, r.quota>>20, (b.SizeInUse()+r.reserve/2)>>20)
	}
	if err := r.server.Defragment(); err != nil {
		return fmt.Errorf("pack the database in %s: %w", r.dir, err)
	}
	return nil
}

// settle has the database count as free what compaction freed: it does so when the transaction after the next one
// ends, and while writes are refused there is none.
func settle(b backend.Backend) {
	for range 2 {
		tx := b.BatchTx()
		tx.LockOutsideApply()
		tx.UnsafeCreateBucket(schema.Meta) // it is there: nothing changes, but there is something to commit
		tx.Unlock()
		b.ForceCommit()
	}
}

// raised tells whether the alarm of this member is on.
func (r *room) raised() bool {
	for _, a := range r.server.Alarms() {
		if a.Alarm == pb.AlarmType_NOSPACE && a.MemberID == uint64(r.server.MemberID()) {
			return true
		}
	}
	return false
}

// forgotten takes back the alarms of members that left the cluster: they cannot do it any more.
func (r *room) forgotten(ctx context.Context) error {
	for _, a := range r.server.Alarms() {
		if a.Alarm != pb.AlarmType_NOSPACE {
			continue
		}
		there := false
		for _, m := range r.server.Cluster().Members() {
			there = there || uint64(m.ID) == a.MemberID
		}
		if !there {
			return r.alarm(ctx, pb.AlarmRequest_DEACTIVATE, a.MemberID)
		}
	}
	return nil
}

func (r *room) alarm(ctx context.Context, action pb.AlarmRequest_AlarmAction, member uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := r.server.Alarm(ctx, &pb.AlarmRequest{Action: action, MemberID: member, Alarm: pb.AlarmType_NOSPACE}); err != nil {
		return fmt.Errorf("%v the alarm of a full store: %w", action, err)
	}
	return nil
}
