package sshd

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// hangUp does to a process group what the end of a terminal does.
func hangUp(pgid int) {
	_ = syscall.Kill(-pgid, syscall.SIGHUP)
	_ = syscall.Kill(-pgid, syscall.SIGCONT)
}

// killGroup kills those members of a process group whose leader has ended that do not ignore hang-ups:
// what was started with nohup has asked to go on; what was started with setsid is in another group.
func killGroup(pgid int) {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == pgid {
			continue
		}
		if g, err := syscall.Getpgid(pid); err == nil && g == pgid && !ignoresHangUp(pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// ignoresHangUp reads from /proc whether a process ignores SIGHUP.
func ignoresHangUp(pid int) bool {
	ignores := false
	_ = eachLine(fmt.Sprintf("/proc/%d/status", pid), func(line string) {
		if mask, ok := strings.CutPrefix(line, "SigIgn:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			ignores = err == nil && bits&(1<<(syscall.SIGHUP-1)) != 0
		}
	})
	return ignores
}
