package sandbox

import "golang.org/x/sys/unix"

const (
	ownArch = unix.AUDIT_ARCH_X86_64
	// foreignBit marks the calls of the x32 interface.
	foreignBit = 0x40000000
)

// otherCalls are the calls of 32-bit programs that reach other machines: socketcall, connect, sendmmsg,
// sendto, sendmsg, io_uring_setup.
var otherCalls = map[uint32][]uint32{unix.AUDIT_ARCH_I386: {102, 362, 345, 369, 370, 425}}
