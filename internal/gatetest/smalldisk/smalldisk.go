// Package smalldisk gives tests a disk that can really be full: a file system in memory of a given size, mounted
// for one test. Mounting is for root, also for the root of a name space (unshare -Urm go test ...); a test that
// may not mount is skipped.
package smalldisk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Disk is a mounted file system.
type Disk struct {
	// Dir is where it is mounted.
	Dir string
	t   testing.TB
}

// New mounts a file system of so many bytes until the end of the test.
func New(t testing.TB, size int64) *Disk {
	t.Helper()
	d := &Disk{t: t, Dir: t.TempDir()}
	if err := unix.Mount("tmpfs", d.Dir, "tmpfs", 0, fmt.Sprintf("mode=0755,size=%d", size)); err != nil {
		t.Skipf("SKIP: a file system of a known size cannot be mounted here (%v): run as root, or with unshare -Urm", err)
	}
	// Lazily, so that a process that a failed test left behind holds up nothing.
	t.Cleanup(func() { _ = unix.Unmount(d.Dir, unix.MNT_DETACH) })
	return d
}

// Free is how many bytes can still be written.
func (d *Disk) Free() int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.Dir, &fs); err != nil {
		d.t.Fatal(err)
	}
	return int64(fs.Bavail) * fs.Bsize
}

// Leave fills the disk up until no more than free bytes can be written. Calls add up: what was there stays.
func (d *Disk) Leave(free int64) {
	d.t.Helper()
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	zeros := make([]byte, 1<<20)
	for range 1 << 16 {
		room := d.Free() - free
		if room <= 0 {
			return
		}
		if _, err := f.Write(zeros[:min(room, int64(len(zeros)))]); err != nil && !errors.Is(err, unix.ENOSPC) {
			d.t.Fatal(err)
		}
	}
	d.t.Fatalf("%d bytes of %s are still free", d.Free(), d.Dir)
}

// Clear takes away what Leave wrote.
func (d *Disk) Clear() {
	if err := os.Remove(d.filler()); err != nil && !errors.Is(err, os.ErrNotExist) {
		d.t.Fatal(err)
	}
}

func (d *Disk) filler() string { return filepath.Join(d.Dir, "filler") }
