// Package git runs the git program (2.38 or later) safely and fast. It has no policy: what is
// fetched, merged or pushed, and when, its callers decide.
//
// Safe means: no shell; no system or user configuration, hooks, prompts or helper protocols; no
// value is ever taken for an option; received objects are checked; an ended context ends the whole
// process group; errors carry the command and what git said, without credentials.
//
// Fast means: objects are read by a process that a Repo keeps open, commits are written without a
// process, a merge is one process, and refs change in one transaction.
//
// Everything works on bare repositories without a work tree. The same merge with the same Signature
// has the same commit id on every machine.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Sentinel errors of this package.
var (
	// ErrNotFound: the repository has no such ref, commit or path.
	ErrNotFound = errors.New("not found in the repository")
	// ErrMoved: a ref was not where the caller expected it; nothing was written.
	ErrMoved = errors.New("the ref is not where it was expected")
	// ErrGone: there is no repository where one was to be fetched from, or to be pushed to.
	ErrGone = errors.New("the repository does not exist")
	// ErrRefused: the other side lets nobody in with what we have, or shows a host key that it should not.
	ErrRefused = errors.New("access to the repository was refused")
	// ErrTooOld: the git program is older than MinVersion.
	ErrTooOld = errors.New("git is too old")
)

// MinVersion is the oldest git that can merge without a work tree.
var MinVersion = [2]int{2, 38}

// Error is a git command that did not succeed.
type Error struct {
	// Args are the command's arguments, without the fixed options and without credentials.
	Args []string
	Dir  string
	// Exit is git's exit code; -1 if it was killed or never ran.
	Exit   int
	Stderr string
	Err    error
}

func (e *Error) Error() string {
	s := "git " + strings.Join(e.Args, " ")
	if e.Dir != "" {
		s += " in " + e.Dir
	}
	s += ": " + e.Err.Error()
	if e.Stderr != "" {
		s += ": " + e.Stderr
	}
	return s
}

// Unwrap gives the cause: an exec.ExitError, or the context's error.
func (e *Error) Unwrap() error { return e.Err }

// What git, its helpers and the customary servers say of a repository that is not there, or that they keep
// from us: these come again at the next attempt. All else may be a matter of the moment.
var (
	gone    = regexp.MustCompile(`(?i)repository .*not found|repository not found|does not appear to be a git repository|requested URL returned error: (404|410)|not found: did you run git update-server-info|project not found|repository .*does not exist`)
	refused = regexp.MustCompile(`(?i)authentication failed|could not read (username|password)|permission denied \(|requested URL returned error: (401|403)|host key verification failed|access denied`)
)

// Is tells what kind of error it is: ErrGone, ErrRefused.
func (e *Error) Is(kind error) bool {
	switch kind { //nolint:errorlint // it is what errors.Is asks
	case ErrRefused:
		return refused.MatchString(e.Stderr)
	case ErrGone:
		return !refused.MatchString(e.Stderr) && gone.MatchString(e.Stderr)
	}
	return false
}

const (
	maxStderr = 4 << 10
	// grace is how long git may take to remove its lock files after a cancel.
	grace = 2 * time.Second
)

var credentials = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@\s]+@`)

// Redact removes user names and passwords from the URLs in s.
func Redact(s string) string { return credentials.ReplaceAllString(s, "$1") }

// fixed are the options of every command: nothing that a repository, a user or a server could set
// makes git run something else.
var fixed = []string{
	"-c", "core.hooksPath=/dev/null",
	"-c", "protocol.ext.allow=never",
	"-c", "safe.directory=*",
	"-c", "gc.auto=0",
	"-c", "maintenance.auto=false",
	"-c", "core.fsmonitor=false",
	"-c", "credential.helper=",
	"-c", "core.quotePath=false",
	"-c", "advice.detachedHead=false",
}

// passed are the variables of this process that git gets; no GIT_ variable is among them.
var passed = []string{"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "all_proxy", "ALL_PROXY"}

// environ is the environment of a git process: the passed variables, the fixed settings, and extra,
// of which later ones win.
func environ(extra ...[]string) []string {
	env := []string{
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/false",
		"SSH_ASKPASS=/bin/false", "GIT_ALLOW_PROTOCOL=file:git:http:https:ssh", "GIT_ATTR_NOSYSTEM=1",
		"GIT_OPTIONAL_LOCKS=0", "GIT_PAGER=cat", "GIT_EDITOR=/bin/false", "LC_ALL=C",
	}
	for _, k := range passed {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	for _, e := range extra {
		env = append(env, e...)
	}
	return env
}

// command is one run of git.
type command struct {
	args []string
	// config are further key=value settings.
	config []string
	env    []string
	stdin  io.Reader
	// stdout, where set, gets the output instead of the result.
	stdout io.Writer
}

func (r *Repo) program() string {
	if r.cfg.Program != "" {
		return r.cfg.Program
	}
	return "git"
}

// build makes the process of c, not started. It ends with ctx: SIGTERM to its group, so that git
// removes its lock files, then SIGKILL.
func (r *Repo) build(ctx context.Context, c command) *exec.Cmd {
	args := append([]string{}, fixed...)
	for _, kv := range c.config {
		args = append(args, "-c", kv)
	}
	args = append(args, "--git-dir="+r.cfg.Dir)
	args = append(args, c.args...)
	cmd := exec.CommandContext(ctx, r.program(), args...)
	cmd.Env = environ(r.cfg.Env, c.env)
	cmd.Dir = "/"
	cmd.Stdin = c.stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	return cmd
}

// run carries out c and returns its output.
func (r *Repo) run(ctx context.Context, c command) ([]byte, error) {
	cmd := r.build(ctx, c)
	var out bytes.Buffer
	stderr := &tail{}
	cmd.Stdout, cmd.Stderr = &out, stderr
	if c.stdout != nil {
		cmd.Stdout = c.stdout
	}
	err := cmd.Run()
	if err == nil {
		return out.Bytes(), nil
	}
	if ctx.Err() != nil {
		if cmd.Process != nil {
			// What outlived SIGTERM and the grace period goes now, with its children.
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		err = ctx.Err()
	}
	exit := -1
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		exit = ee.ExitCode()
	}
	args := make([]string, len(c.args))
	for i, a := range c.args {
		args[i] = Redact(a)
	}
	return out.Bytes(), &Error{Args: args, Dir: r.cfg.Dir, Exit: exit, Stderr: Redact(strings.TrimSpace(stderr.String())), Err: err}
}

// git runs a command without input and returns its output without the last line end.
func (r *Repo) git(ctx context.Context, args ...string) (string, error) {
	out, err := r.run(ctx, command{args: args})
	return strings.TrimSuffix(string(out), "\n"), err
}

// exitCode tells the exit code of a git that ran to its end; -1 for every other error.
func exitCode(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Exit
	}
	return -1
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > 2*maxStderr {
		t.b = append(t.b[:0], t.b[len(t.b)-maxStderr:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	if len(t.b) > maxStderr {
		return string(t.b[len(t.b)-maxStderr:])
	}
	return string(t.b)
}

// Version asks the git program which it is, and gives ErrTooOld where it is older than MinVersion.
// An empty program is the git of the path.
func Version(ctx context.Context, program string) (string, error) {
	if program == "" {
		program = "git"
	}
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("run %s --version: %w (install git %d.%d or later)", program, err, MinVersion[0], MinVersion[1])
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(out), "git version "))
	parts := strings.SplitN(text, ".", 3)
	if len(parts) >= 2 {
		major, err1 := strconv.Atoi(parts[0])
		minor, err2 := strconv.Atoi(parts[1])
		if err1 == nil && err2 == nil {
			if major < MinVersion[0] || major == MinVersion[0] && minor < MinVersion[1] {
				return text, fmt.Errorf("%w: %s is %s, Gozer needs %d.%d or later", ErrTooOld, program, text, MinVersion[0], MinVersion[1])
			}
			return text, nil
		}
	}
	return text, fmt.Errorf("%s --version answered %q, which names no version", program, text)
}
