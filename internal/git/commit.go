package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Signature is who made a commit, and when. Only whole seconds, not before 1970, and the
// offset of the zone count.
type Signature struct {
	Name, Email string
	When        time.Time
}

// clean takes away what git does not allow in names.
var clean = strings.NewReplacer("<", "", ">", "", "\n", " ", "\x00", "")

func (s Signature) String() string {
	return fmt.Sprintf("%s <%s> %d %s", strings.TrimSpace(clean.Replace(s.Name)), strings.TrimSpace(clean.Replace(s.Email)),
		max(0, s.When.Unix()), s.When.Format("-0700"))
}

func parseSignature(text string) Signature {
	name, rest, ok := strings.Cut(text, "<")
	if !ok {
		return Signature{Name: text}
	}
	email, when, _ := strings.Cut(rest, ">")
	s := Signature{Name: strings.TrimSpace(name), Email: email, When: time.Unix(0, 0).UTC()}
	f := strings.Fields(when)
	if len(f) == 0 {
		return s
	}
	sec, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		return s
	}
	s.When = time.Unix(sec, 0).UTC()
	if len(f) > 1 {
		if z, err := time.Parse("-0700", f[1]); err == nil {
			s.When = s.When.In(z.Location())
		}
	}
	return s
}

// Commit is a commit object.
type Commit struct {
	// ID is set by ReadCommit and Log.
	ID                string
	Tree              string
	Parents           []string
	Author, Committer Signature
	Message           string
	// Files are the paths that differ from the first parent; only Log with Files set fills it.
	Files []string
}

// Subject is the first line of the message.
func (c *Commit) Subject() string {
	s, _, _ := strings.Cut(strings.TrimLeft(c.Message, "\n"), "\n")
	return s
}

// ReadCommit reads a commit. ErrNotFound where id is none.
func (r *Repo) ReadCommit(ctx context.Context, id string) (*Commit, error) {
	if err := checkID("commit", id); err != nil {
		return nil, err
	}
	o, err := r.object(ctx, "contents "+id+"^{commit}")
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", id, err)
	}
	c := parseCommit(string(o.data))
	c.ID = o.id
	return c, nil
}

func parseCommit(text string) *Commit {
	head, message, _ := strings.Cut(text, "\n\n")
	c := &Commit{Message: message}
	for line := range strings.SplitSeq(head, "\n") {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "tree":
			c.Tree = value
		case "parent":
			c.Parents = append(c.Parents, value)
		case "author":
			c.Author = parseSignature(value)
		case "committer":
			c.Committer = parseSignature(value)
		}
	}
	return c
}

// CommitTree writes a commit and returns its id, which depends on nothing but c. It runs no
// process: a commit is a hundred bytes that git reads as a loose object.
func (r *Repo) CommitTree(ctx context.Context, c Commit) (string, error) {
	if err := checkID("tree", c.Tree); err != nil {
		return "", err
	}
	o, err := r.object(ctx, "info "+c.Tree)
	if err != nil || o.kind != "tree" {
		return "", fmt.Errorf("commit tree %s: %w", c.Tree, errors.Join(err, wrongKind(o, "tree")))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "tree %s\n", c.Tree)
	for _, p := range c.Parents {
		if err := checkID("parent", p); err != nil {
			return "", err
		}
		o, err := r.object(ctx, "info "+p)
		if err != nil || o.kind != "commit" {
			return "", fmt.Errorf("commit on parent %s: %w", p, errors.Join(err, wrongKind(o, "commit")))
		}
		fmt.Fprintf(&b, "parent %s\n", p)
	}
	msg := strings.ReplaceAll(strings.TrimRight(c.Message, " \t\n"), "\x00", "")
	fmt.Fprintf(&b, "author %s\ncommitter %s\n\n%s\n", c.Author, c.Committer, msg)
	return r.writeLoose("commit", b.Bytes())
}

func wrongKind(o object, want string) error {
	if o.kind != "" && o.kind != want {
		return fmt.Errorf("it is a %s, not a %s", o.kind, want)
	}
	return nil
}

// writeLoose stores an object the way git does: a temporary file with the compressed object, given
// its name when it is whole.
func (r *Repo) writeLoose(kind string, data []byte) (string, error) {
	whole := append(fmt.Appendf(nil, "%s %d\x00", kind, len(data)), data...)
	id := fmt.Sprintf("%x", sha1.Sum(whole))
	dir := filepath.Join(r.cfg.Dir, "objects", id[:2])
	name := filepath.Join(dir, id[2:])
	if _, err := os.Lstat(name); err == nil {
		return id, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("write %s: %w", kind, err)
	}
	f, err := os.CreateTemp(dir, "tmp_obj_")
	if err != nil {
		return "", fmt.Errorf("write %s: %w", kind, err)
	}
	defer os.Remove(f.Name())
	z := zlib.NewWriter(f)
	_, err = z.Write(whole)
	err = errors.Join(err, z.Close(), f.Chmod(0o444), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("write %s %s: %w", kind, id, err)
	}
	return id, nil
}

// InitialCommit writes a commit without parents and files.
func (r *Repo) InitialCommit(ctx context.Context, by Signature, message string) (string, error) {
	tree, err := r.writeLoose("tree", nil)
	if err != nil {
		return "", err
	}
	return r.CommitTree(ctx, Commit{Tree: tree, Author: by, Committer: by, Message: message})
}
