package history_test

import (
	"os/exec"
	"syscall"
)

// asUser makes a command run as another user, in its home of no importance.
func asUser(c *exec.Cmd, uid, gid uint32) *exec.Cmd {
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	c.Dir = "/"
	return c
}
