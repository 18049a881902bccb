package ansible

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Environment is one installed version.
type Environment struct {
	Release
	// Dir is the virtual environment; Base lists the folders outside it that its interpreter needs.
	Dir  string
	Base []string
}

// Python is the interpreter of the environment.
func (e *Environment) Python() string { return filepath.Join(e.Dir, "bin", "python") }

// Playbook is the ansible-playbook program of the environment.
func (e *Environment) Playbook() string { return filepath.Join(e.Dir, "bin", "ansible-playbook") }

// ErrNotInstalled: Find was asked for a version that Install has not set up.
var ErrNotInstalled = errors.New("it is not installed")

// whole is the file that says that an environment is complete.
const whole = "gozer-base"

// Find is the environment of a version below dir, made by Install.
func Find(dir, version string) (*Environment, error) {
	r, err := ReleaseOf(version)
	if err != nil {
		return nil, err
	}
	env := filepath.Join(dir, r.folder())
	base, err := os.ReadFile(filepath.Join(env, whole))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("find Ansible %s in %s: %w; run `gozer ansible install %s --dir %s`", r.Version, dir, ErrNotInstalled, r.Version, dir)
	}
	if err != nil {
		return nil, err
	}
	return &Environment{Release: r, Dir: env, Base: strings.Fields(string(base))}, nil
}

// Install sets up a version below dir, with further Python packages where some are named ("boto3",
// "openstacksdk==1.5.0"), and tells of its steps through progress, which may be nil. Where the version is
// there already and no packages are named it returns at once; two installing at a time wait for each
// other. What it leaves behind is whole: it has run.
func Install(ctx context.Context, dir, version string, packages []string, progress func(string)) (*Environment, error) {
	if progress == nil {
		progress = func(string) {}
	}
	r, err := ReleaseOf(version)
	if err != nil {
		return nil, err
	}
	if e, err := Find(dir, version); err == nil && len(packages) == 0 {
		return e, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lock(filepath.Join(dir, ".lock-"+r.folder()))
	if err != nil {
		return nil, err
	}
	defer unlock()
	env := filepath.Join(dir, r.folder())
	if _, err := Find(dir, version); err != nil {
		if err := os.RemoveAll(env); err != nil {
			return nil, err
		}
		if err := build(ctx, env, r, progress); err != nil {
			return nil, errors.Join(err, os.RemoveAll(env))
		}
	}
	if len(packages) > 0 {
		progress("installing " + strings.Join(packages, " "))
		if err := pip(ctx, env, r, packages...); err != nil {
			return nil, err
		}
	}
	return Find(dir, version)
}

func build(ctx context.Context, env string, r Release, progress func(string)) error {
	python, err := findPython(ctx)
	if err != nil {
		return err
	}
	progress("making a virtual environment with " + python)
	if out, err := run(ctx, python, "-m", "venv", env); err != nil {
		return fmt.Errorf("make a virtual environment in %s: %w\n%s\nIs python3-venv installed? (apt-get install python3-venv)", env, err, lastLines(out, 5))
	}
	progress(fmt.Sprintf("installing Ansible %s with ansible-core %s (about 60 MB to fetch, 350 MB on the disk)", r.Ansible, r.Core))
	if err := pip(ctx, env, r); err != nil {
		return err
	}
	progress("checking that it runs")
	out, err := run(ctx, filepath.Join(env, "bin", "ansible-playbook"), "--version")
	if err != nil || !strings.Contains(out, r.Core) {
		return fmt.Errorf("run ansible-playbook of ansible-core %s: %w\n%s", r.Core, err, lastLines(out, 5))
	}
	base, err := run(ctx, filepath.Join(env, "bin", "python"), "-c", "import sys, os; print(sys.base_prefix); print(os.path.realpath(sys.executable))")
	if err != nil {
		return fmt.Errorf("ask the Python of %s where it lives: %w", env, err)
	}
	return os.WriteFile(filepath.Join(env, whole), []byte(base), 0o644)
}

// pip installs the pinned packages of a release and further ones, and compiles what runs on executors:
// modules are sent to nodes as they are.
func pip(ctx context.Context, env string, r Release, further ...string) error {
	list := filepath.Join(env, "requirements.txt")
	if err := os.WriteFile(list, r.requirements, 0o644); err != nil {
		return err
	}
	py := filepath.Join(env, "bin", "python")
	args := append([]string{"-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-compile", "--requirement", list}, further...)
	if out, err := run(ctx, py, args...); err != nil {
		return fmt.Errorf("install %s with pip: %w\n%s\nCan this machine reach a Python package index?",
			strings.Join(append([]string{"Ansible " + r.Ansible}, further...), ", "), err, lastLines(out, 5))
	}
	// What cannot be compiled here is code for other Pythons.
	_, _ = run(ctx, py, "-m", "compileall", "-q", "-j0", "-x", "/plugins/modules/|/plugins/module_utils/|/tests/", filepath.Join(env, "lib"))
	return nil
}

// findPython prefers the system's interpreter, whose files lie where a sandbox sees them anyway, over
// whatever a version manager has put into the path.
func findPython(ctx context.Context) (string, error) {
	for _, p := range []string{"/usr/bin/python3", "python3", "python3.12", "python3.11", "python3.10"} {
		path, err := exec.LookPath(p)
		if err != nil {
			continue
		}
		if _, err := run(ctx, path, "-c", "import sys, venv, ensurepip; sys.exit(not (3,10) <= sys.version_info[:2] <= (3,12))"); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Python 3.10 to 3.12 with venv and pip was found; install them (apt-get install python3 python3-venv python3-pip)")
}

func run(ctx context.Context, name string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "ANSIBLE_CONFIG=/nonexistent.cfg")
	err := cmd.Run()
	return out.String(), err
}

// lock holds an exclusive lock on a file, which the kernel drops if this process dies.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
