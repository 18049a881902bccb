// Package sandbox runs a command under bubblewrap with only what it may touch: the system's programs,
// the folders that it is given, memory and processes up to a limit, and the network of this machine. The
// command has its own process, mount, IPC and host name spaces, no capabilities, no way to gain
// privileges or to make user name spaces of its own; secrets are handed over in memory and never lie on
// a disk. When the command ends, when it is killed, and when this process dies in any way, every process
// that it has started dies with it. What may be touched is the caller's decision. See semantics 4.4.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// ErrNoBwrap: there is no bubblewrap on this machine, or it may not make name spaces.
var ErrNoBwrap = errors.New("bubblewrap cannot be used")

// Config of a Sandbox.
type Config struct {
	// Bwrap is the program; empty is bwrap in the path.
	Bwrap string
	// Cgroup names the group of this process's sandboxes ("gozer"). Empty: no groups are made, and
	// limits are those of setrlimit alone.
	Cgroup string
	// Denied is where commands cannot connect to; beside it, they have the network of this machine.
	Denied Denied
	Log    *slog.Logger
}

// Sandbox starts confined commands.
type Sandbox struct {
	bwrap   string
	isolate []string
	groups  *groups
	spawner *Spawner
	log     *slog.Logger
}

// New finds out what bubblewrap can do here, by running it. ErrNoBwrap, with what to do, where it cannot.
func New(ctx context.Context, c Config) (*Sandbox, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Bwrap == "" {
		c.Bwrap = "bwrap"
	}
	path, err := exec.LookPath(c.Bwrap)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; install it (apt-get install bubblewrap)", ErrNoBwrap, err)
	}
	s := &Sandbox{bwrap: path, log: c.Log}
	if s.spawner, err = NewSpawner(SpawnerConfig{Denied: c.Denied, Log: c.Log}); err != nil {
		c.Log.Warn("sandboxed commands can connect to whatever this machine can, cloud metadata too: there are no system call filters that ask", "error", err)
	}
	if err := s.probeAll(ctx); err != nil {
		s.Close()
		return nil, err
	}
	if c.Cgroup != "" {
		if s.groups, err = openGroups(c.Cgroup); err != nil {
			c.Log.Warn("no control groups: the limits of builds hold for single processes only", "error", err)
		}
	}
	return s, nil
}

// Close ends every command that still runs. Nothing can be started afterwards.
func (s *Sandbox) Close() { s.spawner.Close() }

// Spawn starts a command that is not sandboxed yet and will be: what it can connect to is bounded from
// its start on.
func (s *Sandbox) Spawn(cmd *exec.Cmd) error { return s.spawner.Start(cmd) }

// probeAll finds the most isolation that works here.
func (s *Sandbox) probeAll(ctx context.Context) error {
	full := []string{"--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try", "--disable-userns"}
	if s.isolate = full; s.probe(ctx) != nil {
		// Older kernels and containers do not let a name space forbid further ones.
		s.isolate = full[:len(full)-1]
		if err := s.probe(ctx); err != nil {
			return fmt.Errorf("%w: %w; user name spaces must be allowed (sysctl user.max_user_namespaces, and in a container --security-opt seccomp=unconfined)", ErrNoBwrap, err)
		}
		s.log.Warn("sandboxed commands may make user name spaces of their own: --disable-userns does not work here")
	}
	return nil
}

func (s *Sandbox) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	args := append([]string{"--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"}, s.isolate...)
	cmd := exec.CommandContext(ctx, s.bwrap, append(args, "--", "/bin/true")...)
	out := &tail{}
	cmd.Stderr = out
	err := s.spawner.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", s.bwrap, err, strings.TrimSpace(out.String()))
	}
	return nil
}

// Limits bound one command and all that it starts; 0 is no bound. Without control groups Memory bounds
// each process by itself, and Processes what the user runs altogether.
type Limits struct {
	// Memory in bytes; Processes counts threads too; Files is how many can be open at once.
	Memory    int64
	Processes int
	Files     int
	// FileSize is the size in bytes that a file can grow to.
	FileSize int64
}

// Bind makes a path of this machine visible; Inside is empty where it is the same path.
type Bind struct{ Path, Inside string }

// File is put into the sandbox from memory. Its folder must be there; a file there is hidden.
type File struct {
	Path string
	Data []byte
}

// Box is what a command may touch beside the system's programs and libraries, which it can read.
type Box struct {
	// Name is unique among running commands, and for people: it names the control group.
	Name string
	// ReadOnly and Writable paths, in this order: a later, deeper one is laid over an earlier.
	ReadOnly []Bind
	Writable []Bind
	// Optional paths are read-only and may be missing.
	Optional []Bind
	// Links are symbolic links, by their path; their folders are made.
	Links map[string]string
	// Tmpfs are empty folders in memory; Files come last.
	Tmpfs []string
	Files []File
	// Home of the user that the command runs as; User is its name.
	Home string
	User string
	// NoNetwork: not even that of this machine.
	NoNetwork bool
	Limits    Limits
}

// Command is what to run. Env is all of its environment. Extra files get the descriptors from 3 on.
type Command struct {
	Args   []string
	Env    []string
	Dir    string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Extra  []*os.File
}

// system is what every sandbox can read: programs, libraries, and those files of /etc without which
// they do not work.
var system = []string{"/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin",
	"/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/nsswitch.conf",
	"/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols",
	"/etc/localtime", "/etc/timezone", "/etc/locale.alias", "/etc/os-release", "/etc/lsb-release",
	"/etc/debian_version", "/etc/mime.types", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki",
	"/etc/ca-certificates", "/etc/crypto-policies", "/etc/python3", "/etc/python3.11", "/etc/ssh/ssh_config",
	"/etc/ssh/ssh_config.d", "/etc/ssh/moduli"}

// options are bubblewrap's for b; data files are numbered from fd on.
func (s *Sandbox) options(b *Box, c *Command, fd int) (args []string, data [][]byte) {
	add := func(a ...string) { args = append(args, a...) }
	add(s.isolate...)
	if b.NoNetwork {
		add("--unshare-net")
	}
	add("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--uid", "1000", "--gid", "1000",
		"--hostname", "gozer")
	for _, p := range system {
		add("--ro-bind-try", p, p)
	}
	add("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/var", "--dir", "/var/tmp",
		"--tmpfs", "/run")
	put := func(how string, bs []Bind) {
		for _, x := range bs {
			inside := x.Inside
			if inside == "" {
				inside = x.Path
			}
			add(how, x.Path, inside)
		}
	}
	put("--ro-bind", b.ReadOnly)
	put("--ro-bind-try", b.Optional)
	put("--bind", b.Writable)
	for _, l := range slices.Sorted(maps.Keys(b.Links)) {
		add("--symlink", b.Links[l], l)
	}
	for _, p := range b.Tmpfs {
		add("--tmpfs", p)
	}
	user := b.User
	if user == "" {
		user = "zuul"
	}
	home := b.Home
	if home == "" {
		home = "/tmp"
	}
	files := append([]File{
		{"/etc/passwd", fmt.Appendf(nil, "root:x:0:0:root:/root:/usr/sbin/nologin\n%s:x:1000:1000::%s:/bin/bash\n", user, home)},
		{"/etc/group", fmt.Appendf(nil, "root:x:0:\n%s:x:1000:\n", user)},
	}, b.Files...)
	for _, f := range files {
		add("--ro-bind-data", fmt.Sprint(fd+len(data)), f.Path)
		data = append(data, f.Data)
	}
	dir := c.Dir
	if dir == "" {
		dir = home
	}
	add("--chdir", dir, "--clearenv")
	for _, kv := range c.Env {
		k, v, _ := strings.Cut(kv, "=")
		add("--setenv", k, v)
	}
	return args, data
}

// Remnants removes what earlier processes of this machine, killed in the middle, may have left: empty
// control groups. Processes and mounts of a sandbox never outlive who started it.
func (s *Sandbox) Remnants() {
	if s.groups != nil {
		s.groups.sweep()
	}
}
