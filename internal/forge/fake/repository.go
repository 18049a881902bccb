package fake

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/git"
)

// File is one file of a commit.
type File struct {
	Text string
	// Link makes it a symbolic link to Text. Delete takes the path away from what the parent has.
	Link, Delete bool
}

// Files are the files of a commit by path; of a commit with a parent, those that differ.
type Files map[string]File

// Text makes plain files.
func Text(m map[string]string) Files {
	out := Files{}
	for path, text := range m {
		out[path] = File{Text: text}
	}
	return out
}

// entry is a file in a tree.
type entry struct{ mode, id string }

// repository is one bare repository whose objects are written without git: making hundreds of them must
// cost next to nothing. What has to be merged is merged by git.
type repository struct {
	*git.Repo
	refs    map[string]string
	trees   map[string]map[string]entry // of the commits made here
	parents map[string]string
	clock   time.Time
}

// epoch is when the first commit of every repository was made; each next one is a minute later.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

func initRepository(dir string) (*repository, error) {
	g, err := git.Init(git.Config{Dir: dir}, "master")
	if err != nil {
		return nil, err
	}
	return &repository{Repo: g, refs: map[string]string{}, trees: map[string]map[string]entry{}, parents: map[string]string{}, clock: epoch}, nil
}

// write stores an object the way git does.
func (r *repository) write(kind string, data []byte) (string, error) {
	whole := append(fmt.Appendf(nil, "%s %d\x00", kind, len(data)), data...)
	id := fmt.Sprintf("%x", sha1.Sum(whole))
	name := filepath.Join(r.Dir(), "objects", id[:2], id[2:])
	if _, err := os.Lstat(name); err == nil {
		return id, nil
	}
	var b bytes.Buffer
	z, err := zlib.NewWriterLevel(&b, zlib.BestSpeed)
	if err != nil {
		return "", err
	}
	if _, err := z.Write(whole); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return "", err
	}
	return id, os.WriteFile(name, b.Bytes(), 0o444)
}

// tree gives the files of a commit.
func (r *repository) tree(ctx context.Context, commit string) (map[string]entry, error) {
	if t, ok := r.trees[commit]; ok {
		return t, nil
	}
	list, err := r.ListFiles(ctx, commit, "")
	if err != nil {
		return nil, err
	}
	t := map[string]entry{}
	for _, e := range list {
		t[e.Path] = entry{e.Mode, e.Object}
	}
	r.trees[commit] = t
	return t, nil
}

// commit makes a commit on top of a parent (empty: none) and gives its id; no ref moves.
func (r *repository) commit(ctx context.Context, parent, message string, files Files) (string, error) {
	tree := map[string]entry{}
	if parent != "" {
		base, err := r.tree(ctx, parent)
		if err != nil {
			return "", err
		}
		tree = maps.Clone(base)
	}
	for path, f := range files {
		if f.Delete {
			delete(tree, path)
			continue
		}
		id, err := r.write("blob", []byte(f.Text))
		if err != nil {
			return "", err
		}
		mode := "100644"
		switch {
		case f.Link:
			mode = "120000"
		case strings.HasPrefix(f.Text, "#!"):
			mode = "100755"
		}
		tree[path] = entry{mode, id}
	}
	root, err := r.writeTree(tree, "")
	if err != nil {
		return "", err
	}
	r.clock = r.clock.Add(time.Minute)
	var b bytes.Buffer
	fmt.Fprintf(&b, "tree %s\n", root)
	if parent != "" {
		fmt.Fprintf(&b, "parent %s\n", parent)
	}
	who := fmt.Sprintf("Phil Author <author@example.com> %d +0000", r.clock.Unix())
	fmt.Fprintf(&b, "author %s\ncommitter %s\n\n%s\n", who, who, strings.TrimRight(message, "\n"))
	id, err := r.write("commit", b.Bytes())
	if err != nil {
		return "", err
	}
	r.trees[id], r.parents[id] = tree, parent
	return id, nil
}

// writeTree stores the tree below a directory ("" or one that ends with a slash).
func (r *repository) writeTree(files map[string]entry, dir string) (string, error) {
	type item struct{ sort, name, mode, id string }
	var items []item
	subs := map[string]bool{}
	for path, e := range files {
		rest, ok := strings.CutPrefix(path, dir)
		if !ok {
			continue
		}
		name, _, deep := strings.Cut(rest, "/")
		if !deep {
			items = append(items, item{name, name, e.mode, e.id})
			continue
		}
		if subs[name] {
			continue
		}
		subs[name] = true
		id, err := r.writeTree(files, dir+name+"/")
		if err != nil {
			return "", err
		}
		items = append(items, item{name + "/", name, "40000", id})
	}
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.sort, b.sort) })
	var b bytes.Buffer
	for _, it := range items {
		raw, err := hex.DecodeString(it.id)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s %s\x00", it.mode, it.name)
		b.Write(raw)
	}
	return r.write("tree", b.Bytes())
}

// resolve finds the commit that a ref, a branch, a tag or its own id names; empty, where none does.
func (r *repository) resolve(name string) string {
	if _, ok := r.trees[name]; ok {
		return name
	}
	return cmp.Or(r.refs[name], r.refs["refs/heads/"+name], r.refs["refs/tags/"+name])
}

// set points a ref to a commit; empty removes it.
func (r *repository) set(ref, commit string) error {
	path := filepath.Join(r.Dir(), filepath.FromSlash(ref))
	if commit == "" {
		delete(r.refs, ref)
		return os.Remove(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	next := path + ".lock"
	if err := os.WriteFile(next, []byte(commit+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	r.refs[ref] = commit
	return nil
}

// merge brings a commit onto a branch the way a person with git merge would.
func (r *repository) merge(ctx context.Context, branch, commit, message string) error {
	ref := "refs/heads/" + branch
	head := r.refs[ref]
	if head == "" {
		return fmt.Errorf("there is no branch %s", branch)
	}
	if r.parents[commit] == head {
		return r.set(ref, commit)
	}
	r.clock = r.clock.Add(time.Minute)
	res, err := r.Merge(ctx, git.MergeRequest{Base: head, Change: commit, Message: message,
		By: git.Signature{Name: "Phil Author", Email: "author@example.com", When: r.clock}})
	if err != nil {
		return err
	}
	if res.Conflict != nil {
		return fmt.Errorf("merge %s into %s: %s", commit, branch, res.Conflict)
	}
	return r.set(ref, res.Commit)
}

// FilesOf reads a folder as the files of a commit. A file that begins with "symlink: " stands for a link.
func FilesOf(fsys fs.FS) (Files, error) {
	out := Files{}
	err := fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(fsys, path)
		if err != nil {
			return err
		}
		if target, ok := strings.CutPrefix(string(b), "symlink: "); ok {
			out[path] = File{Text: strings.TrimSpace(target), Link: true}
			return nil
		}
		out[path] = File{Text: string(b)}
		return nil
	})
	return out, err
}
