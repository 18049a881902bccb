package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// groups makes control groups, in the one hierarchy of version 2 or in those of version 1.
type groups struct {
	// parents are the folders in which a group is made, by controller.
	memory, pids string
	v2           bool
}

// group is the control group of one command. All methods work on nil.
type group struct {
	dirs  []string
	procs []string
	v2    bool
	// memory and pids say which limits it holds.
	memory, pids bool
}

func openGroups(name string) (*groups, error) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return openV2(name)
	}
	g := &groups{}
	for controller, dir := range map[string]*string{"memory": &g.memory, "pids": &g.pids} {
		path := filepath.Join(cgroupRoot, controller)
		if _, err := os.Stat(filepath.Join(path, "cgroup.procs")); err != nil {
			continue
		}
		own, err := ownGroup(controller)
		if err != nil {
			return nil, err
		}
		*dir = filepath.Join(path, own, name)
		if !usable(*dir) {
			*dir = ""
		}
	}
	if g.memory == "" && g.pids == "" {
		return nil, errors.New("neither memory nor pids controller can be used")
	}
	return g, nil
}

// usable tells whether groups can be made in dir: it may be there, and somebody else's.
func usable(dir string) bool {
	if os.MkdirAll(dir, 0o755) != nil {
		return false
	}
	probe := filepath.Join(dir, fmt.Sprintf("probe-%d", os.Getpid()))
	if err := os.Mkdir(probe, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return false
	}
	return os.Remove(probe) == nil
}

func openV2(name string) (*groups, error) {
	own, err := ownGroup("")
	if err != nil {
		return nil, err
	}
	// The group of this process may not have both processes and controllers, so the sandboxes' group
	// stands beside it where that is possible, below it where not.
	for _, parent := range []string{filepath.Dir(own), own} {
		base := filepath.Join(cgroupRoot, parent)
		dir := filepath.Join(base, name)
		_ = os.WriteFile(filepath.Join(base, "cgroup.subtree_control"), []byte("+memory +pids"), 0o644)
		if !usable(dir) {
			continue
		}
		if os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+memory +pids"), 0o644) == nil {
			return &groups{memory: dir, pids: dir, v2: true}, nil
		}
	}
	return nil, fmt.Errorf("controllers memory and pids are not delegated to %s", own)
}

// ownGroup is this process's group in the hierarchy of a controller (empty: version 2).
func ownGroup(controller string) (string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		p := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(p) != 3 {
			continue
		}
		for _, c := range strings.Split(p[1], ",") {
			if c == controller {
				return p[2], nil
			}
		}
	}
	return "", fmt.Errorf("this process is in no control group of %q", controller)
}

// make makes the group of one command and sets its limits.
func (g *groups) make(name string, l Limits) (*group, error) {
	out := &group{v2: g.v2, memory: g.memory != "" && l.Memory > 0, pids: g.pids != "" && l.Processes > 0}
	name = strings.ReplaceAll(name, "/", "_")
	add := func(parent, file string, value int64) error {
		if parent == "" || value == 0 {
			return nil
		}
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o755); err == nil {
			out.dirs = append(out.dirs, dir)
			out.procs = append(out.procs, filepath.Join(dir, "cgroup.procs"))
		} else if !errors.Is(err, os.ErrExist) || !g.v2 {
			return err
		}
		return os.WriteFile(filepath.Join(dir, file), []byte(strconv.FormatInt(value, 10)), 0o644)
	}
	memory := "memory.limit_in_bytes"
	if g.v2 {
		memory = "memory.max"
	}
	if err := errors.Join(add(g.memory, memory, l.Memory), add(g.pids, "pids.max", int64(l.Processes))); err != nil {
		out.remove()
		return nil, err
	}
	return out, nil
}

func (g *group) kill() {
	if g != nil && g.v2 {
		for _, d := range g.dirs {
			_ = os.WriteFile(filepath.Join(d, "cgroup.kill"), []byte("1"), 0o644)
		}
	}
}

// remove removes the group once its last process is gone, which takes the kernel a moment.
func (g *group) remove() {
	if g == nil {
		return
	}
	for _, d := range g.dirs {
		for i := range 50 {
			if err := os.Remove(d); err == nil || errors.Is(err, os.ErrNotExist) {
				break
			}
			time.Sleep(time.Duration(i) * time.Millisecond)
		}
	}
}

// sweep removes groups without processes.
func (g *groups) sweep() {
	for _, parent := range []string{g.memory, g.pids} {
		if parent == "" {
			continue
		}
		entries, err := os.ReadDir(parent)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.IsDir() {
				_ = os.Remove(filepath.Join(parent, e.Name()))
			}
		}
	}
}
