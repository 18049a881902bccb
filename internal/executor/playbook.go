package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/sandbox"
)

// playbook is one playbook of a build, ready to be run.
type playbook struct {
	job.Playbook
	// dir is its own folder; path, the playbook's file, as the sandbox sees both.
	dir, path string
	at        checkout
	// host is the folder on this machine with the repository's files.
	host  string
	roles []role
	binds []sandbox.Bind
	// native: it is a program.
	native bool
}

// role is one repository on the search path for roles.
type role struct {
	project      change.Project
	at           checkout
	link, target string
	path         string
	name         string
}

// String is the playbook as banners name it.
func (p *playbook) String() string {
	trust := "untrusted"
	if p.Source.Trusted {
		trust = "trusted"
	}
	return fmt.Sprintf("[%s : %s@%s]", trust, p.name(), p.Source.Branch)
}

// name is canonical project and path.
func (p *playbook) name() string { return p.Source.Project.Canonical() + "/" + p.Path }

// preparePlaybooks finds every playbook and its roles and makes their folders.
func (b *build) preparePlaybooks(ctx context.Context) error {
	slots := map[string]string{}
	prepare := func(kind string, from []job.Playbook) ([]*playbook, error) {
		var out []*playbook
		for i, p := range from {
			q, err := b.preparePlaybook(ctx, fmt.Sprintf("%splaybook_%d", kind, i), p, slots)
			if err != nil {
				return nil, err
			}
			out = append(out, q)
		}
		return out, nil
	}
	var err error
	if b.pre, err = prepare("pre_", b.s.Job.PreRun); err != nil {
		return err
	}
	if b.run, err = prepare("", b.s.Job.Run); err != nil {
		return err
	}
	if b.post, err = prepare("post_", b.s.Job.PostRun); err != nil {
		return err
	}
	if len(b.run) == 0 {
		return halt{pipeline.ErrorResult, "The job has no run playbook"}
	}
	return nil
}

func (b *build) preparePlaybook(ctx context.Context, name string, p job.Playbook, slots map[string]string) (*playbook, error) {
	q := &playbook{Playbook: p, dir: b.dir.join(name)}
	if err := os.Mkdir(q.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if q.at, err = b.playbookCheckout(p); err != nil {
		return nil, err
	}
	inside, err := b.place(ctx, q, p.Source.Project, q.at.Commit, slots)
	if err != nil {
		return nil, err
	}
	q.host = q.binds[0].Path
	if q.path, err = locate(q.host, p.Path); err != nil {
		return nil, noPlaybook(p, err)
	}
	if q.native, err = isProgram(q.host, q.path); err != nil {
		return nil, err
	}
	q.path = filepath.Join(inside, q.path)
	for i, r := range p.Roles {
		if err := b.prepareRole(ctx, q, i, r, slots); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// place makes the files of a commit visible to a playbook, below trusted or untrusted, and tells where.
func (b *build) place(ctx context.Context, q *playbook, p change.Project, commit string, slots map[string]string) (string, error) {
	tree, release, err := b.x.views.tree(ctx, p, commit)
	if err != nil {
		return "", err
	}
	b.releases = append(b.releases, release)
	kind := "untrusted"
	if q.Source.Trusted {
		kind = "trusted"
	}
	id := kind + " " + p.Canonical() + " " + commit
	inside, ok := slots[id]
	if !ok {
		inside = b.dir.join(kind, fmt.Sprintf("project_%d", len(slots)), p.Host, p.Name)
		slots[id] = inside
		if err := os.MkdirAll(inside, 0o700); err != nil {
			return "", err
		}
	}
	q.binds = append(q.binds, sandbox.Bind{Path: tree, Inside: inside})
	return inside, nil
}

// locate finds a playbook in a repository.
func locate(dir, path string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	for _, name := range playbookNames(path) {
		st, err := root.Stat(name)
		switch {
		case err == nil && st.Mode().IsRegular():
			return name, nil
		case err == nil, os.IsNotExist(err), errors.Is(err, os.ErrNotExist):
			continue
		case strings.Contains(err.Error(), "escapes"):
			return "", errors.New("it lies outside of its repository")
		}
	}
	return "", errNoFile
}

// playbookNames are the paths at which a playbook may be; as in Zuul its name may lack the ending.
func playbookNames(path string) []string {
	clean := filepath.Clean(path)
	return []string{clean, clean + ".yaml", clean + ".yml"}
}

var errNoFile = errors.New("there is no such file")

func noPlaybook(p job.Playbook, why error) error {
	return halt{pipeline.ErrorResult, fmt.Sprintf("Unable to find playbook %s of %s@%s: %v", p.Path, p.Source.Project, p.Source.Branch, why)}
}

// playbookCheckout: a playbook is at the branch that its job was defined on; trusted ones as merged.
func (b *build) playbookCheckout(p job.Playbook) (checkout, error) {
	ref, commit, ok := b.seen(p)[p.Source.Project.Canonical()].find(p.Source.Branch)
	if !ok {
		return checkout{}, halt{pipeline.ErrorResult, fmt.Sprintf("Playbook %s: %s has no branch %s", p.Path, p.Source.Project, p.Source.Branch)}
	}
	return checkout{Ref: ref, Name: p.Source.Branch, Commit: commit, Why: "playbook branch"}, nil
}

// seen is the state that a playbook and its roles are read from.
func (b *build) seen(p job.Playbook) states {
	if p.Source.Trusted {
		return b.states
	}
	return b.spec
}

// isProgram tells a program from a playbook: it may be executed, and is no YAML by name or content.
func isProgram(dir, path string) (bool, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false, err
	}
	defer root.Close()
	f, err := root.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Mode()&0o111 == 0 {
		return false, err
	}
	if ext := filepath.Ext(path); ext == ".yaml" || ext == ".yml" {
		return false, nil
	}
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, err
	}
	return bytes.HasPrefix(head[:n], []byte("#!")) || bytes.Equal(head[:n], []byte("\x7fELF")), nil
}

// prepareRole puts a repository on the playbook's path for roles, by its shape (semantics 4.3).
func (b *build) prepareRole(ctx context.Context, q *playbook, i int, r job.Role, slots map[string]string) error {
	at, err := b.roleCheckout(q.Playbook, q.at, r.Project)
	if err != nil {
		return err
	}
	inside, err := b.place(ctx, q, r.Project, at.Commit, slots)
	if err != nil {
		return err
	}
	tree := q.binds[len(q.binds)-1].Path
	bare, collection := isDir(tree, "tasks"), isDir(tree, "roles")
	if !bare && !collection {
		if r.Implicit {
			return nil
		}
		return noRole(q.Playbook, r, at)
	}
	name := r.Name
	if name == "" {
		name = r.Project.Short()
	}
	if strings.ContainsAny(name, "/\\") || name == ".." || name == "." {
		return halt{pipeline.ErrorResult, fmt.Sprintf("%q is no name for a role", name)}
	}
	dir := filepath.Join(q.dir, fmt.Sprintf("role_%d", i))
	x := role{project: r.Project, at: at, name: name, link: filepath.Join(dir, name), target: inside}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := os.Symlink(inside, x.link); err != nil {
		return err
	}
	if x.path = dir; !bare {
		x.path = filepath.Join(x.link, "roles")
	}
	if len(q.roles) == ansible.MaxRoles {
		return halt{pipeline.ErrorResult, fmt.Sprintf("Playbook %s has roles of more than %d repositories", q.Path, ansible.MaxRoles)}
	}
	q.roles = append(q.roles, x)
	return nil
}

func noRole(p job.Playbook, r job.Role, at checkout) error {
	return halt{pipeline.ErrorResult, fmt.Sprintf("Unable to find role for playbook %s: %s@%s has neither a roles nor a tasks folder", p.Path, r.Project, at.Name)}
}

// roleCheckout: the playbook's own repository is at the playbook's branch, others where a workspace
// project would be; trusted playbooks see merged code only.
func (b *build) roleCheckout(q job.Playbook, own checkout, p change.Project) (checkout, error) {
	if p == q.Source.Project {
		return own, nil
	}
	st := b.seen(q)
	at, err := choose(st[p.Canonical()], wish{project: p, job: b.s.Job, item: b.primary, fallback: b.fallback(p, st[p.Canonical()])})
	if err != nil {
		return at, halt{pipeline.ErrorResult, fmt.Sprintf("Roles of %s for playbook %s: %v", p, q.Path, err)}
	}
	return at, nil
}

func isDir(dir, name string) bool {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false
	}
	defer root.Close()
	st, err := root.Stat(name)
	return err == nil && st.IsDir()
}

// context is zuul.playbook_context.
func (b *build) context() object {
	projects, playbooks := object{}, []any{}
	for _, p := range b.run {
		add := func(path string, c change.Project, at checkout) {
			rel, err := filepath.Rel(b.dir.root, path)
			if err == nil {
				projects[rel] = object{"canonical_name": c.Canonical(), "checkout": at.Name, "commit": at.Commit}
			}
		}
		add(p.binds[0].Inside, p.Source.Project, p.at)
		roles := []any{}
		for _, r := range p.roles {
			add(r.target, r.project, r.at)
			roles = append(roles, object{"checkout": r.at.Name, "checkout_description": r.at.Why, "link_name": r.link,
				"link_target": r.target, "role_path": r.path})
		}
		playbooks = append(playbooks, object{"path": p.path, "roles": roles})
	}
	return object{"playbook_projects": projects, "playbooks": playbooks}
}
