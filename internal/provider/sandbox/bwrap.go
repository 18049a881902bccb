package sandbox

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Numbers of the files that a node inherits, in the order of exec.Cmd.ExtraFiles.
const (
	fdListen = 3 + iota
	fdReady
	fdInfo
	fdBlock
)

// nodePath is PATH in nodes: what a node installs for itself comes first, and so does its sudo.
const nodePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// nodeProgram is where nodes find the program that serves them.
const nodeProgram = "/run/gozer-node"

// capabilities of root in a node: what owning its files and users takes. Nothing that mounts: the host's
// kernel settings under /proc are covered, and must stay so.
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETFCAP", "CAP_SYS_CHROOT", "CAP_NET_BIND_SERVICE",
}

// bwrapArgs are the arguments that make a node of a machine's folders; own: it has layers upon the host's.
func (p *Provider) bwrapArgs(m *machine, own, boot bool) []string {
	args := append(p.namespaceArgs(), "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
		"--hostname", m.name, "--cap-drop", "ALL")
	for _, c := range capabilities {
		args = append(args, "--cap-add", c)
	}
	args = append(args, "--bind", m.path("root"), "/")
	args = append(args, m.hostArgs(own)...)
	args = append(args, "--bind", m.path("local"), "/usr/local")
	for _, l := range libraryFolders() {
		if fi, err := os.Lstat(l); err == nil && fi.IsDir() {
			args = append(args, "--ro-bind", l, l)
		}
	}
	for _, path := range p.readOnly() {
		args = append(args, "--ro-bind", path, path)
	}
	args = append(args, "--proc", "/proc", "--dev", "/dev")
	args = append(args, coverProc()...)
	args = append(args, "--ro-bind", p.cfg.Program, nodeProgram, "--chdir", "/", "--",
		nodeProgram, "sandbox-node", "-max-sessions", strconv.Itoa(p.cfg.MaxSessions))
	if boot {
		args = append(args, "-boot")
	}
	if m.ownUser {
		args = append(args, "-own-user")
	}
	return args
}

// coverProc keeps nodes from what in /proc is the kernel's and not a process's. Where Gozer runs as root,
// root of a node is root to the kernel when it comes to writing there, whatever its capabilities.
func coverProc() (args []string) {
	for _, name := range []string{"sys", "sysrq-trigger", "irq", "bus", "fs", "mtrr", "acpi", "scsi", "asound"} {
		if path := "/proc/" + name; exists(path) {
			args = append(args, "--ro-bind", path, path)
		}
	}
	for _, name := range []string{"kcore", "keys", "latency_stats", "timer_list", "sched_debug"} {
		if path := "/proc/" + name; exists(path) {
			args = append(args, "--ro-bind", "/dev/null", path)
		}
	}
	return args
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// namespaceArgs make a user namespace with the ids of nodes, which waits for unblock.
func (p *Provider) namespaceArgs() []string {
	block := "--block-fd"
	if p.ids.many() {
		block = "--userns-block-fd"
	}
	return []string{
		"--unshare-user", "--unshare-pid", "--die-with-parent", "--uid", "0", "--gid", "0",
		"--info-fd", strconv.Itoa(fdInfo), block, strconv.Itoa(fdBlock),
	}
}

// readOnly are the further folders that are there: one that is not is left out, as it would be on a
// machine that does not have it.
func (p *Provider) readOnly() []string {
	var out []string
	for _, path := range p.cfg.ReadOnly {
		if exists(path) {
			out = append(out, filepath.Clean(path))
		}
	}
	return out
}

// libraryFolders are the folders beside /usr that programs need; on most systems, links into it.
func libraryFolders() []string {
	found, _ := filepath.Glob("/lib*") // the pattern is right
	return append([]string{"/bin", "/sbin"}, found...)
}

// linkTarget is where a library folder leads, if it is a link.
func linkTarget(path string) (string, bool) {
	to, err := os.Readlink(path)
	return strings.TrimPrefix(to, "/"), err == nil
}
