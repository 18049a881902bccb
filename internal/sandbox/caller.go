package sandbox

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// caller are the ids of a thread, as this process's user namespace has them.
type caller struct {
	uid, gid int
	groups   []uint32
}

// callerOf reads them.
func callerOf(tid int) (c caller, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/status")
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 5 && f[0] == "Uid:":
			c.uid, err = strconv.Atoi(f[2]) // real, effective, saved, file system
		case len(f) == 5 && f[0] == "Gid:":
			c.gid, err = strconv.Atoi(f[2])
		case len(f) > 0 && f[0] == "Groups:":
			for _, g := range f[1:] {
				if n, err := strconv.ParseUint(g, 10, 32); err == nil {
					c.groups = append(c.groups, uint32(n))
				}
			}
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}

// do calls f with the caller's rights, so that files are his to open or not, and who looks at the other end of a
// socket sees him. Only root can do that; where another runs Gozer, f has the rights of that one.
func (c caller) do(f func() unix.Errno) unix.Errno {
	if os.Geteuid() != 0 || c.uid == 0 {
		return f()
	}
	result := make(chan unix.Errno, 1)
	go func() {
		// Ids are a thread's. This one ends with the function, since it is never unlocked.
		runtime.LockOSThread()
		var groups unsafe.Pointer
		if len(c.groups) > 0 {
			groups = unsafe.Pointer(&c.groups[0])
		}
		keep := ^uintptr(0)
		_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(c.groups)), uintptr(groups), 0)
		if errno == 0 {
			_, _, errno = unix.RawSyscall(unix.SYS_SETRESGID, keep, uintptr(c.gid), keep)
		}
		if errno == 0 {
			_, _, errno = unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(c.uid), keep)
		}
		if errno == 0 {
			errno = f()
		}
		result <- errno
	}()
	return <-result
}
