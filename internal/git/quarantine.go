package git

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Quarantine holds objects that were received and not yet accepted: no other process sees them.
// It ends with Accept or Drop.
type Quarantine struct {
	repo *Repo
	dir  string
	env  []string
	// ended: it was accepted or dropped.
	ended bool
}

// unpackLimit is how many objects a pack must have to be kept as a pack, as with git's own server.
const unpackLimit = 100

// Receive reads a pack into a quarantine, checks its objects, and that nothing they refer to is
// missing. maxBytes bounds the pack; 0 is no bound. A nil pack makes an empty quarantine.
func (r *Repo) Receive(ctx context.Context, pack io.Reader, maxBytes int64) (*Quarantine, error) {
	objects := filepath.Join(r.cfg.Dir, "objects")
	dir, err := os.MkdirTemp(objects, "tmp_objdir-incoming-")
	if err != nil {
		return nil, fmt.Errorf("receive objects: %w", err)
	}
	q := &Quarantine{repo: r, dir: dir, env: []string{"GIT_OBJECT_DIRECTORY=" + dir, "GIT_ALTERNATE_OBJECT_DIRECTORIES=" + objects,
		"GIT_QUARANTINE_PATH=" + dir}}
	if pack == nil {
		return q, nil
	}
	head := bufio.NewReader(pack)
	args := []string{"index-pack", "--stdin", "--fix-thin", "--strict"}
	if h, err := head.Peek(12); err == nil && binary.BigEndian.Uint32(h[8:]) < unpackLimit {
		// A few objects are better off loose than in a pack of their own.
		args = []string{"unpack-objects", "-q", "--strict"}
	}
	if maxBytes > 0 {
		args = append(args, fmt.Sprintf("--max-input-size=%d", maxBytes))
	}
	if _, err := r.run(ctx, command{args: args, env: q.env, stdin: head, config: []string{"pack.threads=1"}}); err != nil {
		return nil, errors.Join(err, q.Drop())
	}
	return q, nil
}

// Drop throws the objects away; after Accept it does nothing.
func (q *Quarantine) Drop() error {
	q.ended = true
	return os.RemoveAll(q.dir)
}

// Accept makes the objects part of the repository; again does nothing. Objects that a pack index names
// are there before the index is.
func (q *Quarantine) Accept() error {
	if q.ended {
		return nil
	}
	var files []string
	err := filepath.WalkDir(q.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("accept objects: %w", err)
	}
	order := func(name string) int {
		if strings.HasSuffix(name, ".idx") {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(files, func(a, b string) int { return order(a) - order(b) })
	for _, f := range files {
		rel, err := filepath.Rel(q.dir, f)
		if err != nil {
			return err
		}
		to := filepath.Join(q.repo.cfg.Dir, "objects", rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("accept objects: %w", err)
		}
		if err := os.Rename(f, to); err != nil {
			return fmt.Errorf("accept objects: %w", err)
		}
	}
	return q.Drop()
}

// Maintain packs what has gathered in single objects and small packs, and removes what no ref has
// reached for two weeks. It may run beside everything else.
func (r *Repo) Maintain(ctx context.Context) error {
	_, err := r.git(ctx, "gc", "--quiet", "--prune=2.weeks.ago")
	return err
}
