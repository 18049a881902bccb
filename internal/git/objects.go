package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// object is an answer of cat-file.
type object struct {
	id, kind string
	size     int
	data     []byte
}

// MaxFile bounds what ReadFile takes into memory, in bytes.
const MaxFile = 64 << 20

// errLarge: the object is larger than the caller would keep.
var errLarge = errors.New("object is too large")

// object asks the open reader one question: "info NAME" or "contents NAME".
func (r *Repo) object(ctx context.Context, question string) (object, error) {
	if strings.ContainsAny(question, "\n\x00") {
		return object{}, ErrNotFound
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reader == nil || r.reader.dead {
		p, err := r.start(command{args: []string{"cat-file", "--batch-command"}})
		if err != nil {
			return object{}, err
		}
		r.reader = p
	}
	var o object
	var answer error
	err := r.reader.ask(ctx, question+"\n", func(out *bufio.Reader) error {
		line, err := out.ReadString('\n')
		if err != nil {
			return fmt.Errorf("git cat-file in %s ended: %w: %s", r.cfg.Dir, err, r.reader.stderr)
		}
		o, answer = parseObject(line)
		if answer != nil || strings.HasPrefix(question, "info ") {
			return nil
		}
		if o.size > MaxFile {
			answer = fmt.Errorf("%s: %w (%d bytes)", o.id, errLarge, o.size)
			_, err = out.Discard(o.size + 1)
			return err
		}
		o.data = make([]byte, o.size)
		if _, err := io.ReadFull(out, o.data); err != nil {
			return err
		}
		_, err = out.Discard(1)
		return err
	})
	if err != nil {
		return object{}, err
	}
	return o, answer
}

func parseObject(line string) (object, error) {
	line = strings.TrimSuffix(line, "\n")
	f := strings.Fields(line)
	if len(f) == 3 && IsID(f[0]) {
		n, err := strconv.Atoi(f[2])
		if err == nil {
			return object{id: f[0], kind: f[1], size: n}, nil
		}
	}
	if strings.HasSuffix(line, " missing") || strings.HasSuffix(line, " ambiguous") || strings.HasSuffix(line, " submodule") {
		return object{}, ErrNotFound
	}
	return object{}, fmt.Errorf("git cat-file answered %q", line)
}

// Has tells whether the repository has the object.
func (r *Repo) Has(ctx context.Context, id string) (bool, error) {
	if err := checkID("object", id); err != nil {
		return false, err
	}
	_, err := r.object(ctx, "info "+id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Tree is the tree of a commit.
func (r *Repo) Tree(ctx context.Context, commit string) (string, error) {
	if err := checkID("commit", commit); err != nil {
		return "", err
	}
	o, err := r.object(ctx, "info "+commit+"^{tree}")
	if err != nil {
		return "", fmt.Errorf("tree of %s: %w", commit, err)
	}
	return o.id, nil
}

// ReadFile is the content of a file at a commit or in a tree; of a symbolic link, its target.
// ErrNotFound where path is no file there.
func (r *Repo) ReadFile(ctx context.Context, commit, path string) ([]byte, error) {
	if err := checkID("commit", commit); err != nil {
		return nil, err
	}
	o, err := r.object(ctx, "contents "+commit+":"+path)
	if err == nil && o.kind != "blob" {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read %s at %s: %w", path, commit, err)
	}
	return o.data, nil
}

// Entry is one thing in a tree.
type Entry struct {
	// Path is relative to the root of the listed commit.
	Path string
	// Mode is git's, in octal: 100644, 100755, 120000 (symbolic link), 40000 (tree), 160000
	// (submodule).
	Mode   string
	Object string
}

// IsTree tells whether e is a directory.
func (e Entry) IsTree() bool { return e.Mode == "40000" }

// ListTree lists what is directly in directory path of a commit ("" is the root), in git's order.
// ErrNotFound where there is no such directory.
func (r *Repo) ListTree(ctx context.Context, commit, path string) ([]Entry, error) {
	if err := checkID("commit", commit); err != nil {
		return nil, err
	}
	path = strings.Trim(path, "/")
	name := commit + "^{tree}"
	if path != "" {
		name = commit + ":" + path
	}
	o, err := r.object(ctx, "contents "+name)
	if err == nil && o.kind != "tree" {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("list %q at %s: %w", path, commit, err)
	}
	return parseTree(path, o.data)
}

// ListFiles lists all files, links and submodules below directory path, at any depth.
func (r *Repo) ListFiles(ctx context.Context, commit, path string) ([]Entry, error) {
	entries, err := r.ListTree(ctx, commit, path)
	if err != nil {
		return nil, err
	}
	var files []Entry
	for _, e := range entries {
		if !e.IsTree() {
			files = append(files, e)
			continue
		}
		below, err := r.ListFiles(ctx, commit, e.Path)
		if err != nil {
			return nil, err
		}
		files = append(files, below...)
	}
	return files, nil
}

func parseTree(dir string, b []byte) ([]Entry, error) {
	if dir != "" {
		dir += "/"
	}
	var out []Entry
	for len(b) > 0 {
		mode, rest, ok1 := bytes.Cut(b, []byte{' '})
		name, rest, ok2 := bytes.Cut(rest, []byte{0})
		if !ok1 || !ok2 || len(rest) < 20 {
			return nil, fmt.Errorf("tree of %q is malformed", dir)
		}
		out = append(out, Entry{Path: dir + string(name), Mode: string(mode), Object: fmt.Sprintf("%x", rest[:20])})
		b = rest[20:]
	}
	return out, nil
}
