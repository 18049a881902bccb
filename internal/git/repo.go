package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Zero is the object name that stands for "does not exist".
const Zero = "0000000000000000000000000000000000000000"

// Config says which repository, and how git is run on it.
type Config struct {
	// Dir is the git directory (of a bare repository: the repository). It must be absolute.
	Dir string
	// Env are additional variables for every git process of the repository.
	Env []string
	// Program is the git to run; empty is the one of the path.
	Program string
}

// Repo is one repository. Its methods may be called from many goroutines; those that read objects
// share a process that stays open until Close. Nothing is locked between processes but
// what git locks.
type Repo struct {
	cfg Config

	mu     sync.Mutex
	reader *process // cat-file --batch-command
}

// Open is the repository at cfg.Dir. ErrNotFound where there is none.
func Open(cfg Config) (*Repo, error) {
	if !filepath.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("open repository %q: the path must be absolute", cfg.Dir)
	}
	for _, name := range []string{"objects", "refs", "HEAD"} {
		if _, err := os.Lstat(filepath.Join(cfg.Dir, name)); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("open repository %s: %w", cfg.Dir, ErrNotFound)
			}
			return nil, fmt.Errorf("open repository %s: %w", cfg.Dir, err)
		}
	}
	return &Repo{cfg: cfg}, nil
}

// repoConfig makes a new repository durable and able to serve any commit to other parts of Gozer.
const repoConfig = `[core]
	repositoryformatversion = 0
	filemode = true
	bare = true
	logallrefupdates = false
[uploadpack]
	allowAnySHA1InWant = true
	allowFilter = true
[gc]
	auto = 0
[receive]
	autogc = false
`

// Init makes a bare repository at cfg.Dir whose HEAD names branch, or opens the one that is there.
// It runs no process, and leaves either a whole repository or none.
func Init(cfg Config, branch string) (*Repo, error) {
	if r, err := Open(cfg); err == nil || !errors.Is(err, ErrNotFound) {
		return r, err
	}
	if err := checkRef("refs/heads/" + branch); err != nil {
		return nil, fmt.Errorf("make repository %s: %w", cfg.Dir, err)
	}
	if err := initBare(cfg.Dir, branch); err != nil {
		return nil, fmt.Errorf("make repository %s: %w", cfg.Dir, err)
	}
	return Open(cfg)
}

func initBare(dir, branch string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	for _, d := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags", "info"} {
		if err := os.MkdirAll(filepath.Join(tmp, d), 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"config": repoConfig, "HEAD": "ref: refs/heads/" + branch + "\n"} {
		if err := os.WriteFile(filepath.Join(tmp, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	err = os.Rename(tmp, dir)
	if err != nil {
		if _, oerr := Open(Config{Dir: dir}); oerr == nil {
			return nil // somebody else made it at the same time
		}
	}
	return err
}

// Dir is the git directory.
func (r *Repo) Dir() string { return r.cfg.Dir }

// Close ends the process that r keeps open. r can still be used, and opens it anew.
func (r *Repo) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reader != nil {
		r.reader.stop()
		r.reader = nil
	}
	return nil
}

// Head is the branch that HEAD names, without refs/heads/.
func (r *Repo) Head() (string, error) {
	b, err := os.ReadFile(filepath.Join(r.cfg.Dir, "HEAD"))
	if err != nil {
		return "", fmt.Errorf("read HEAD: %w", err)
	}
	return strings.TrimPrefix(strings.TrimSpace(strings.TrimPrefix(string(b), "ref:")), "refs/heads/"), nil
}

// SetHead makes HEAD name branch, which need not exist.
func (r *Repo) SetHead(ctx context.Context, branch string) error {
	if err := checkRef("refs/heads/" + branch); err != nil {
		return err
	}
	_, err := r.git(ctx, "symbolic-ref", "HEAD", "refs/heads/"+branch)
	return err
}

// checkRef refuses names that git would take for something else than a full ref, by git's own
// rules (git check-ref-format).
func checkRef(name string) error {
	bad := func(why string) error { return fmt.Errorf("%q is no ref name: %s", name, why) }
	if name == "HEAD" {
		return nil
	}
	if !strings.HasPrefix(name, "refs/") {
		return bad("it does not start with refs/")
	}
	for _, c := range strings.Split(name, "/") {
		switch {
		case c == "":
			return bad("it has an empty part")
		case c[0] == '.' || strings.HasSuffix(c, ".lock") || strings.HasSuffix(c, "."):
			return bad("a part starts with a dot, or ends in a dot or .lock")
		}
	}
	if strings.Contains(name, "..") || strings.Contains(name, "@{") {
		return bad("it contains .. or @{")
	}
	if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune(`~^:?*[\`, c) }) {
		return bad("it contains a character that git does not allow")
	}
	return nil
}

// IsID tells whether s is a full object id.
func IsID(s string) bool {
	if len(s) != 40 {
		return false
	}
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

func checkID(what, id string) error {
	if !IsID(id) {
		return fmt.Errorf("%s %q is no full object id", what, id)
	}
	return nil
}
