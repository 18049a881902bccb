package read

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	ansibledeps "github.com/gozer-ci/gozer/ansible/deps"
	"github.com/gozer-ci/gozer/internal/deps"
)

// Options say what is read and how.
type Options struct {
	// Path is the checkout.
	Path string
	// Python is that of an environment with ansible-core. Empty: the one beside ansible-playbook on PATH.
	Python string
	// Cache is a folder for what was read, by content; empty: nothing is kept.
	Cache string
	// Inventory are sources that go before those that are found.
	Inventory []string
	// Projects are folders with checkouts of other projects, whose roles and jobs are read where jobs name them; empty:
	// those beside the checkout.
	Projects []string
	// Limit bounds the whole reading (5 minutes where 0), InventoryLimit one source (20 seconds).
	Limit, InventoryLimit time.Duration
	// Progress is told what is being read; it may be nil.
	Progress func(text string)
}

// ErrNoAnsible is returned (wrapped) where no Python with ansible-core can be found.
var ErrNoAnsible = errors.New("no Ansible was found: name its Python, or have ansible-playbook on PATH")

// Repo reads a checkout: its Zuul configuration, and the content of the jobs that run playbooks.
func Repo(ctx context.Context, o Options) (*deps.Repo, error) {
	c, err := openCheckout(ctx, o.Path)
	if err != nil {
		return nil, err
	}
	settings, err := c.settings()
	if err != nil {
		return nil, err
	}
	if len(o.Inventory) > 0 {
		settings.Inventory = o.Inventory
	}
	roles, required := c.wanted()
	c.projects = c.beside(append(roles, required...), o.Projects)
	for name, dir := range settings.Projects {
		c.projects[name] = filepath.Join(c.root, dir)
	}
	if err := c.parents(ctx); err != nil {
		return nil, err
	}
	r := &deps.Repo{Files: c.files, Settings: settings, Semaphores: c.semaphores(), Inventory: c.sources(c.inventory(settings)), Pipelines: c.pipelines()}
	for _, f := range c.conf {
		for _, p := range f.Problems() {
			r.Broken = append(r.Broken, deps.Problem{At: deps.Place{File: p.Source.Path, Line: p.Line}, Text: p.Short, Lost: len(f.Jobs)+len(f.Projects)+len(f.Templates) == 0})
		}
	}
	for _, place := range c.ignored {
		r.Broken = append(r.Broken, deps.Problem{At: deps.Place{File: place}, Text: fmt.Sprintf("Zuul does not read %s, as %s comes first", place, c.conf[0].Source.Path)})
	}
	q := c.request(r, o)
	q.Inventory = c.inventory(settings)
	out, err := o.content(ctx, c, q)
	if err != nil {
		return nil, err
	}
	if err := take(r, out); err != nil {
		return nil, err
	}
	return r, nil
}

// request is what the Python program takes, see there.
type request struct {
	Root             string              `json:"root"`
	Config           string              `json:"config"`
	Plugins          map[string]string   `json:"plugins"`
	Variables        []string            `json:"variables"`
	Inventory        []string            `json:"inventory"`
	Hosts            map[string][]string `json:"hosts"`
	InventorySeconds int                 `json:"inventory_seconds"`
	Bastion          string              `json:"bastion"`
	// Projects are folders of other projects that may be read; RoleFolders and Roles are where their roles are. Absent
	// says which are not there.
	Projects    []string          `json:"projects"`
	RoleFolders []string          `json:"role_folders"`
	Roles       map[string]string `json:"roles"`
	Absent      string            `json:"absent"`
	Playbooks   []playbook        `json:"playbooks"`
}

type playbook struct {
	ID   string         `json:"id"`
	Path string         `json:"path"`
	Vars map[string]any `json:"vars"`
	// Nodes are all hosts that there are, where a job has a nodeset; the repository's inventory else.
	Nodes []string `json:"nodes"`
	// Outer: it only runs another on a bastion. Inner: it is run there; Named: as a variable says.
	Outer bool `json:"outer,omitempty"`
	Inner bool `json:"inner,omitempty"`
	Named bool `json:"named,omitempty"`
}

// request adds the jobs that run playbooks to r, and asks for their content.
func (c *checkout) request(r *deps.Repo, o Options) request {
	limit := o.InventoryLimit
	if limit == 0 {
		limit = 20 * time.Second
	}
	q := request{Root: c.root, Config: c.ansibleConfig(), Plugins: c.plugins(), Variables: c.variableFiles(), Hosts: map[string][]string{}, InventorySeconds: int(limit.Seconds()), Bastion: r.Settings.Bastion}
	q.Projects = slices.Sorted(maps.Values(c.projects))
	q.RoleFolders, q.Roles = c.rolesOf()
	q.Absent = c.absent()
	used := map[string]bool{}
	for _, p := range r.Pipelines {
		for _, m := range p.Members {
			used[m.Job] = true
		}
	}
	for _, name := range c.names {
		e := c.settle(name, map[string]bool{})
		paths, inner := c.playbooks(e)
		if e.abstract || !used[name] {
			continue
		}
		if len(paths) == 0 {
			why := "its playbooks are not in this repository"
			if len(e.run) > 0 && c.has(e.run[0]) {
				why = "it runs the program " + e.run[0] + ": what that does is not read"
			}
			r.Jobs = append(r.Jobs, deps.Job{Name: name, Description: strings.TrimSpace(e.text), At: e.at, Matchers: e.matchers, Elsewhere: why, Partial: true})
			continue
		}
		j := deps.Job{Name: name, Description: strings.TrimSpace(e.text), At: e.at, Playbooks: paths, Matchers: e.matchers, Inner: inner, Vars: told(e)}
		for _, n := range e.nodes {
			j.Nodes = append(j.Nodes, n.Names...)
			for _, host := range n.Names {
				q.Hosts[host] = groupsOf(e, host)
			}
		}
		r.Jobs = append(r.Jobs, j)
		for _, path := range c.own(e) {
			q.Playbooks = append(q.Playbooks, playbook{ID: name, Path: path, Vars: e.vars, Nodes: j.Nodes, Outer: inner})
		}
		for _, path := range paths {
			if inner {
				q.Playbooks = append(q.Playbooks, playbook{ID: name, Path: path, Vars: map[string]any{}, Inner: true, Named: true})
			}
		}
	}
	return q
}

// told are the variables and the secrets of a job, by name.
func told(e *effective) map[string]string {
	out := map[string]string{}
	for name, v := range e.vars {
		out[name] = text(v)
	}
	for _, name := range e.secrets {
		out["secret "+name] = name
	}
	return out
}

// text is a value that can be compared.
func text(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func groupsOf(e *effective, host string) []string {
	out := []string{}
	for _, g := range e.groups {
		for _, n := range g.Nodes {
			if n == host {
				out = append(out, g.Name)
			}
		}
	}
	return out
}

// content asks the Python program, or the cache.
func (o Options) content(ctx context.Context, c *checkout, q request) ([]byte, error) {
	python, err := o.python()
	if err != nil {
		return nil, err
	}
	in, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	kept := ""
	if o.Cache != "" {
		key, err := c.key(ctx, in, python)
		if err != nil {
			return nil, err
		}
		kept = filepath.Join(o.Cache, key+".jsonl")
		if data, err := os.ReadFile(kept); err == nil {
			return data, nil
		}
	}
	out, err := o.run(ctx, python, in, len(q.Playbooks))
	if err != nil {
		return nil, err
	}
	if kept != "" {
		if err := keep(kept, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (o Options) python() (string, error) {
	if o.Python != "" {
		if _, err := os.Stat(o.Python); err != nil {
			return "", fmt.Errorf("%w (%w)", ErrNoAnsible, err)
		}
		return o.Python, nil
	}
	program, err := exec.LookPath("ansible-playbook")
	if err != nil {
		return "", ErrNoAnsible
	}
	if real, err := filepath.EvalSymlinks(program); err == nil {
		program = real
	}
	for _, name := range []string{"python", "python3"} {
		p := filepath.Join(filepath.Dir(program), name)
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", ErrNoAnsible
}

// key is the hash of everything that the answer depends on.
func (c *checkout) key(ctx context.Context, in []byte, python string) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", python)
	programs, err := fs.ReadDir(ansibledeps.Program, ".")
	if err != nil {
		return "", err
	}
	for _, p := range programs {
		data, err := fs.ReadFile(ansibledeps.Program, p.Name())
		if err != nil {
			return "", err
		}
		h.Write(data)
	}
	h.Write(in)
	files, err := c.roleFiles(ctx)
	if err != nil {
		return "", err
	}
	for _, f := range c.files {
		files = append(files, filepath.Join(c.root, f))
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "\n%s %d\n", f, len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func keep(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(data); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// run starts the program in a temporary home, and passes its progress on.
func (o Options) run(ctx context.Context, python string, in []byte, books int) ([]byte, error) {
	limit := o.Limit
	if limit == 0 {
		limit = 5 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "gozer-deps-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(filepath.Join(dir, "program"), ansibledeps.Program); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, python, filepath.Join(dir, "program", ansibledeps.Entry))
	cmd.Env = append(environment(), "ANSIBLE_HOME="+filepath.Join(dir, "home"), "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stdin = bytes.NewReader(in)
	cmd.WaitDelay = time.Second
	// A program of the inventory that was given up must not outlive the reading.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", python, err)
	}
	out, ended := o.follow(pipe, books)
	err = cmd.Wait()
	if kill := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); kill != nil && !errors.Is(kill, syscall.ESRCH) {
		err = errors.Join(err, kill)
	}
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		return nil, fmt.Errorf("reading the playbooks took more than %s", limit)
	case !ended && strings.Contains(stderr.String(), "No module named 'ansible"):
		return nil, fmt.Errorf("%s: %w", python, ErrNoAnsible)
	case err != nil || !ended:
		return nil, fmt.Errorf("read the playbooks with %s: %w: %s", python, errors.Join(err, ctx.Err()), lastLine(stderr.String()))
	}
	return out, nil
}

// environment is what programs of the inventory are given: clouds they may need to ask for, but what Gozer itself logs in
// with is none of a repository's business.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GOZER_") })
}

// follow collects the lines; ended tells whether the last one was there.
func (o Options) follow(r io.Reader, books int) (out []byte, ended bool) {
	in := bufio.NewReaderSize(r, 1<<16)
	done := 0
	for {
		line, err := in.ReadBytes('\n')
		out = append(out, line...)
		switch {
		case bytes.HasPrefix(line, []byte(`{"kind": "end"`)):
			ended = true
		case bytes.HasPrefix(line, []byte(`{"kind": "reading"`)):
			var b struct{ Text string }
			if json.Unmarshal(line, &b) == nil && o.Progress != nil {
				o.Progress(b.Text)
			}
		case bytes.HasPrefix(line, []byte(`{"kind": "playbook"`)):
			done++
			var b struct{ Path string }
			if json.Unmarshal(line, &b) == nil && o.Progress != nil {
				o.Progress(fmt.Sprintf("%d of %d playbooks: %s", done, max(done, books), b.Path)) // playbooks that others run are met on the way
			}
		}
		if err != nil {
			return out, ended
		}
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
