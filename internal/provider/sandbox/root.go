package sandbox

import (
	_ "embed" // the files of a skeleton
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

var (
	//go:embed skeleton/sudo
	sudoProgram []byte
	//go:embed skeleton/passwd
	passwd string
	//go:embed skeleton/group
	group []byte
)

// zuulID are the user and the group of zuul where he is not root; see Label.OwnUser.
const (
	zuulID   = 1000
	zuulHome = "/home/zuul"
)

// rootFolders are the folders of a node's root, with their modes.
var rootFolders = []struct {
	path string
	mode fs.FileMode
}{
	{"etc/ssh", 0o755}, {"etc/alternatives", 0o755}, {"etc/gozer/boot.d", 0o755}, {"etc/cron.d", 0o755}, {"etc/sudoers.d", 0o755}, {"etc/systemd/system", 0o755},
	{"home/zuul/.ssh", 0o700}, {"root", 0o700}, {"usr", 0o755}, {"proc", 0o755}, {"dev", 0o755}, {"sys", 0o755},
	{"var/lib", 0o755}, {"var/cache/apt/archives/partial", 0o755}, {"var/cache/debconf", 0o755}, {"var/log/apt", 0o755}, {"var/spool", 0o755}, {"var/mail", 0o755},
	{"var/backups", 0o755}, {"var/www", 0o755}, {"var/tmp", 0o777 | fs.ModeSticky}, {"tmp", 0o777 | fs.ModeSticky},
	{"run/lock", 0o755}, {"srv", 0o755}, {"opt", 0o755}, {"mnt", 0o755}, {"media", 0o755},
}

// hostEtc are the entries of the host's /etc that programs in /usr expect and that tell nothing of the
// host. What is not there is left out.
var hostEtc = []string{
	"adduser.conf", "apt", "bash.bashrc", "ca-certificates", "ca-certificates.conf", "crypto-policies",
	"debian_version", "debconf.conf", "default/useradd", "dnf", "dpkg", "deluser.conf", "ethertypes", "gai.conf", "host.conf", "inputrc",
	"ld.so.cache", "ld.so.conf", "ld.so.conf.d", "locale.alias", "localtime", "login.defs", "magic", "mime.types",
	"networks", "os-release", "pam.d", "perl", "pki/tls", "profile", "protocols", "python3", "python3.11", "rpc",
	"rpm", "security", "services", "shells", "skel", "ssl", "terminfo", "timezone", "yum.repos.d",
}

// layRoot makes the root folder of a machine where it is not there, and in any case what must be true at
// each start. Everything in it was in the hands of whoever used the machine: it is only touched through
// root, which no link leads out of.
func (p *Provider) layRoot(m *machine, features []string) error {
	return usualMask(func() error { return p.lay(m, features) })
}

// usualMask runs f on a thread that has the umask of most systems: what the users of a node may read does not depend
// on the umask of this process.
func usualMask(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocks it: the thread ends here
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			done <- fmt.Errorf("a umask of its own: %w", err)
			return
		}
		unix.Umask(nodeMask)
		done <- f()
	}()
	return <-done
}

// nodeMask is the umask on nodes.
const nodeMask = 0o022

func (p *Provider) lay(m *machine, features []string) error {
	if err := os.MkdirAll(m.path("root"), 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(m.path("root"))
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.Stat("etc/passwd"); err != nil {
		if err := p.layFresh(root, m); err != nil {
			return fmt.Errorf("make the root folder of %s: %w", m.name, err)
		}
	}
	if err := clearRun(root); err != nil {
		return fmt.Errorf("clear /run of %s: %w", m.name, err)
	}
	for _, path := range p.readOnly() {
		if err := mountPoint(root, path); err != nil {
			return fmt.Errorf("prepare %s in the root folder of %s: %w", path, m.name, err)
		}
	}
	if err := layResolver(root); err != nil {
		return fmt.Errorf("lay the resolver's configuration into %s: %w", m.name, err)
	}
	for _, f := range features {
		for path, content := range p.features[f].Files {
			if err := writeIn(root, path, content); err != nil {
				return fmt.Errorf("lay feature %s into %s: %w", f, m.name, err)
			}
		}
	}
	return layLocal(m.path("local"))
}

// layFresh fills an empty root folder. /etc/passwd comes last: it is the mark that all is there.
func (p *Provider) layFresh(root *os.Root, m *machine) error {
	for _, d := range rootFolders {
		if err := root.MkdirAll(d.path, 0o755); err != nil {
			return err
		}
		if err := root.Chmod(d.path, d.mode); err != nil {
			return err
		}
	}
	for _, l := range libraryFolders() {
		if to, ok := linkTarget(l); ok {
			if err := root.Symlink(to, l[1:]); err != nil {
				return err
			}
		}
	}
	for _, e := range append(hostEtc, p.cfg.Etc...) {
		if err := p.copyEtc(root, e); err != nil {
			return err
		}
	}
	// Two names of one user: ssh looks for keys in the home of the first, Ansible in that of the second.
	if err := root.Symlink("../home/zuul/.ssh", "root/.ssh"); err != nil {
		return err
	}
	users, groups := withSystem(passwd, "/etc/passwd"), withSystem(string(group), "/etc/group")
	if m.ownUser {
		own := fmt.Sprintf("zuul:x:%d:", zuulID)
		users = strings.Replace(users, "zuul:x:0:0:", fmt.Sprintf("%s%d:", own, zuulID), 1)
		groups = strings.Replace(groups, "zuul:x:0:", own, 1)
	}
	files := []struct {
		path, content string
		mode          fs.FileMode
	}{
		{"etc/hostname", m.name + "\n", 0o644},
		{"etc/hosts", "127.0.0.1 localhost\n", 0o644},
		{"etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n", 0o644},
		{"etc/fstab", "", 0o644},
		{"etc/environment", "PATH=" + nodePath + "\n", 0o644},
		{"etc/group", groups, 0o644},
		{"etc/gshadow", "", 0o640},
		{"etc/sudoers", "root ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n", 0o440},
		{"etc/sudoers.d/zuul", "zuul ALL=(ALL) NOPASSWD:ALL\n", 0o440},
		{"etc/shadow", shadow(users), 0o640},
		{"etc/ssh/ssh_host_ed25519_key", string(m.hostKey.private), 0o600},
		{"etc/ssh/ssh_host_ed25519_key.pub", m.hostKey.public + "\n", 0o644},
		{"home/zuul/.ssh/authorized_keys", "", 0o600},
		{"etc/passwd", users, 0o644},
	}
	for _, f := range files {
		if err := root.WriteFile(f.path, []byte(f.content), f.mode); err != nil {
			return err
		}
	}
	return nil
}

// withSystem adds the system's users or groups of the host, which packages expect, to text: those with an id
// below 1000, without whoever is in the groups.
func withSystem(text, path string) string {
	have := map[string]bool{}
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, ":")
		have[name] = true
	}
	eachField(path, ":", func(f []string) {
		if len(f) < 4 || have[f[0]] {
			return
		}
		if id, err := strconv.Atoi(f[2]); err != nil || id <= 0 || id >= 1000 {
			return
		}
		f[1] = "x"
		if len(f) == 4 {
			f[3] = "" // a group
		}
		text += strings.Join(f, ":") + "\n"
	})
	return text
}

// shadow has a line for each user, and lets nobody in by password.
func shadow(users string) string {
	var b strings.Builder
	for line := range strings.Lines(users) {
		user, _, _ := strings.Cut(line, ":")
		b.WriteString(user + ":*:20000:0:99999:7:::\n")
	}
	return b.String()
}

// resolverMark begins a resolv.conf that is Gozer's to write; a playbook that writes its own leaves it out.
const resolverMark = "# Gozer: as on the host\n"

// layResolver lets a machine look up names as its host does.
func layResolver(root *os.Root) error {
	const file = "etc/resolv.conf"
	have, err := root.ReadFile(file)
	if err == nil && len(have) > 0 && !strings.HasPrefix(string(have), resolverMark) {
		return nil
	}
	host, err := os.ReadFile("/" + file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return root.WriteFile(file, append([]byte(resolverMark), host...), 0o644)
}

// clearRun empties /run, as a machine that boots does: stale pid files and sockets mislead services.
func clearRun(root *os.Root) error {
	if err := root.RemoveAll("run"); err != nil {
		return err
	}
	return root.MkdirAll("run/lock", 0o755)
}

// mountPoint makes sure that bubblewrap finds the place of a mount without following a link: links of
// an earlier user of the machine would lead it astray.
func mountPoint(root *os.Root, path string) error {
	rel := strings.TrimPrefix(filepath.Clean(path), "/")
	if strings.HasPrefix(rel+"/", "usr/") {
		return nil // the host's own; it is there
	}
	at := ""
	for _, part := range strings.Split(filepath.Dir(rel), "/") {
		at = filepath.Join(at, part)
		if fi, err := root.Lstat(at); err == nil && !fi.IsDir() {
			return fmt.Errorf("/%s is no folder", at)
		}
	}
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if fi.IsDir() {
		return root.MkdirAll(rel, 0o755)
	}
	if err := root.MkdirAll(filepath.Dir(rel), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(rel, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// writeIn writes a file with an absolute path below root.
func writeIn(root *os.Root, path, content string) error {
	rel := strings.TrimPrefix(filepath.Clean(path), "/")
	if err := root.MkdirAll(filepath.Dir(rel), 0o755); err != nil {
		return err
	}
	return root.WriteFile(rel, []byte(content), 0o644)
}

// layLocal makes a machine's own /usr/local. It is kept beside the root folder: there, the machine's
// users could put a link in its place.
func layLocal(dir string) error {
	for _, d := range []string{"bin", "sbin", "lib", "share/ca-certificates", "etc", "src"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "bin", "sudo"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(sudoProgram)
	return errors.Join(err, f.Chmod(0o755), f.Close())
}

// links are symbolic links that every node has, made once: a further name of a link costs a fraction of
// a further link, and there are hundreds (each certificate has two). A link cannot be written to, so that
// nodes cannot disturb each other through it.
type links struct {
	dir string

	mu   sync.Mutex
	made map[string]string // by target
}

// lay makes rel in root lead to target. The root folder is fresh: no user of a node has been there.
func (l *links) lay(root *os.Root, target, rel string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	have, ok := l.made[target]
	if !ok {
		have = filepath.Join(l.dir, strconv.Itoa(len(l.made)))
		if err := os.MkdirAll(l.dir, 0o755); err != nil {
			return err
		}
		if err := os.Symlink(target, have); err != nil {
			return err
		}
		l.made[target] = have
	}
	if err := os.Link(have, filepath.Join(root.Name(), rel)); err == nil {
		return nil
	}
	return root.Symlink(target, rel) // another file system, or too many names
}

// copyEtc copies one entry of the host's /etc: folders with what is in them, links as links. What may
// not be read is left out; it is not meant for everybody.
func (p *Provider) copyEtc(root *os.Root, entry string) error {
	return filepath.WalkDir(filepath.Join("/etc", entry), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil
			}
			return err
		}
		rel := path[1:]
		fi, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			if fi.Mode().Perm()&0o005 != 0o005 {
				return fs.SkipDir
			}
			return root.MkdirAll(rel, 0o755)
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			if err := root.MkdirAll(filepath.Dir(rel), 0o755); err != nil {
				return err
			}
			return p.links.lay(root, to, rel)
		case d.Type().IsRegular() && fi.Mode().Perm()&0o004 != 0:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := root.MkdirAll(filepath.Dir(rel), 0o755); err != nil {
				return err
			}
			return root.WriteFile(rel, content, fi.Mode().Perm()|0o200)
		}
		return nil
	})
}
