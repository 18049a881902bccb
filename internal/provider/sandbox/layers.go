package sandbox

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// layered are the host's folders that a node has a layer of its own upon: programs, and what package managers
// know of them, so that packages can be installed on a node without being there on another one.
var layered = []string{"/usr", "/etc/alternatives", "/var/lib/dpkg", "/var/lib/apt", "/var/lib/rpm"}

// ours are folders in a layer that another user has on the host: users of a node are others.
var ours = map[string][]string{"/var/lib/apt": {"upper/lists/partial", "upper/lists/auxfiles"}}

// layers are those of them that this host has.
func layers() (out []string) {
	for _, path := range layered {
		if fi, err := os.Lstat(path); err == nil && fi.IsDir() {
			out = append(out, path)
		}
	}
	return out
}

// layer is where the folder with a machine's layer upon a host's folder is.
func (m *machine) layer(path string) string { return m.path(filepath.Join("layers", path)) }

// mountLayers lays the layers of a machine upon the host's folders. The mounts are in a name space of the calling
// thread's own, and end with the processes in it.
func (m *machine) mountLayers() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	unix.Umask(nodeMask)
	for _, path := range layers() {
		for _, d := range append([]string{"upper", "work", "all"}, ours[path]...) {
			if err := os.MkdirAll(filepath.Join(m.layer(path), d), 0o755); err != nil {
				return err
			}
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to itself: %w", err)
	}
	for _, path := range layers() {
		at := m.layer(path)
		// In the folder, so that no sign in its path is taken for one of the option's.
		if err := unix.Chdir(at); err != nil {
			return err
		}
		if err := unix.Mount("overlay", filepath.Join(at, "all"), "overlay", unix.MS_NOSUID|unix.MS_NODEV, "lowerdir="+path+",upperdir=upper,workdir=work"); err != nil {
			return fmt.Errorf("lay a layer upon %s: %w", path, err)
		}
	}
	return unix.Chdir("/")
}

// hostArgs are the arguments of bubblewrap for the host's folders: with the machine's layers upon them, or, where
// those cannot be had, read-only.
func (m *machine) hostArgs(own bool) (args []string) {
	for _, path := range layers() {
		switch {
		case own:
			args = append(args, "--bind", filepath.Join(m.layer(path), "all"), path)
		default:
			args = append(args, "--ro-bind", path, path)
		}
	}
	return args
}
