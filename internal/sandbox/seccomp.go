package sandbox

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fastOpen is the flag with which a send is a connect, too.
const fastOpen = 0x20000000

// seccompData is where a filter finds what a system call is about.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

// notification is the kernel's struct seccomp_notif: a thread asks whether it may.
type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// goOn, among an answer's flags, has the kernel carry out what the thread asked for.
const goOn = 1

// answer is its struct seccomp_notif_resp.
type answer struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

// filter lets every system call pass but those by which a program reaches another machine: a connect, and
// with binds a bind, is asked about, and the ways around it (a send that connects, rings of system calls, the
// calls of other architectures) are not there.
func filter(binds bool) []unix.SockFilter {
	errno := func(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	// If the value is k, the next instruction counts; if not, skip of them are passed over.
	equal := func(k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: k}
	}
	set := func(k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: skip, K: k}
	}
	give := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
	}
	out := []unix.SockFilter{load(dataArch)}
	for arch, calls := range otherCalls {
		out = append(out, equal(arch, uint8(2+2*len(calls))), load(dataNumber))
		for _, nr := range calls {
			out = append(out, equal(nr, 1), give(errno(unix.ENOSYS)))
		}
		out = append(out, give(unix.SECCOMP_RET_ALLOW))
	}
	out = append(out, equal(ownArch, 1),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: 1}, give(errno(unix.ENOSYS)), load(dataNumber))
	if foreignBit != 0 {
		out = append(out, set(foreignBit, 1), give(errno(unix.ENOSYS)))
	}
	if binds {
		out = append(out, equal(unix.SYS_BIND, 1), give(unix.SECCOMP_RET_USER_NOTIF))
	}
	out = append(out, equal(unix.SYS_CONNECT, 1), give(unix.SECCOMP_RET_USER_NOTIF),
		equal(unix.SYS_IO_URING_SETUP, 1), give(errno(unix.ENOSYS)))
	for nr, flags := range map[uint32]uint32{unix.SYS_SENDTO: 3, unix.SYS_SENDMSG: 2, unix.SYS_SENDMMSG: 3} {
		out = append(out, equal(nr, 4), load(dataArgs+8*flags), set(fastOpen, 1), give(errno(unix.EOPNOTSUPP)), give(unix.SECCOMP_RET_ALLOW))
	}
	return append(out, give(unix.SECCOMP_RET_ALLOW))
}

// installFilter puts the filter on this thread, for good, and on all that it will start.
func installFilter(binds bool) (*os.File, error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("forbid new privileges: %w", err)
	}
	program := filter(binds)
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return nil, fmt.Errorf("install a system call filter: %w", errno)
	}
	unix.CloseOnExec(int(fd))
	return os.NewFile(fd, "seccomp"), nil
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
