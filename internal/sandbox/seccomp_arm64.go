package sandbox

import "golang.org/x/sys/unix"

const (
	ownArch    = unix.AUDIT_ARCH_AARCH64
	foreignBit = 0
)

// otherCalls are the calls of 32-bit programs that reach other machines: connect, sendto, sendmsg,
// sendmmsg, io_uring_setup.
var otherCalls = map[uint32][]uint32{unix.AUDIT_ARCH_ARM: {283, 290, 296, 374, 425}}
