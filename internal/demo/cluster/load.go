package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge/local"
)

// load is people who propose changes and approve them, as fast as they are taken.
type load struct {
	c   *Cluster
	dir string

	mu       sync.Mutex
	n        int
	approved []int
	unsure   map[int]bool // it is broken; of those whose approval got no answer
	broken   map[int]bool // those that must not pass
}

func (l *load) clone(ctx context.Context, project string) error {
	if l.dir == "" {
		var err error
		if l.dir, err = os.MkdirTemp("", "gozer-chaos-"); err != nil {
			return err
		}
	}
	_, err := Git(ctx, l.dir, "clone", "-q", l.c.Repository(project), project)
	return err
}

func (l *load) close() { _ = os.RemoveAll(l.dir) }

// all lists the changes that were approved.
func (l *load) all() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.approved)
}

var changeLine = regexp.MustCompile(`/c/\S+/\+/(\d+)`)

// run proposes one change after the other. What does not work because something is down is tried again.
func (l *load) run(ctx context.Context, project string) error {
	dir := filepath.Join(l.dir, project)
	for ctx.Err() == nil {
		l.mu.Lock()
		l.n++
		n := l.n
		l.mu.Unlock()
		broken := n%9 == 0
		if number, err := l.propose(ctx, dir, n, broken); err == nil {
			l.approve(ctx, number, broken)
		}
		select {
		case <-ctx.Done():
		case <-time.After(700 * time.Millisecond):
		}
	}
	return ctx.Err()
}

func (l *load) propose(ctx context.Context, dir string, n int, broken bool) (int, error) {
	name := fmt.Sprintf("change-%d", n)
	if broken {
		name = "broken"
	}
	for _, args := range [][]string{{"fetch", "-q", "origin", "main"}, {"reset", "-q", "--hard", "FETCH_HEAD"}} {
		if _, err := Git(ctx, dir, args...); err != nil {
			return 0, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(name+"\n"), 0o644); err != nil {
		return 0, err
	}
	id := fmt.Sprintf("I%040x", uint64(time.Now().UnixNano()))
	for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "-m", fmt.Sprintf("Change %d\n\nChange-Id: %s", n, id)}} {
		if _, err := Git(ctx, dir, args...); err != nil {
			return 0, err
		}
	}
	out, err := Git(ctx, dir, "push", "origin", "HEAD:refs/for/main")
	if err != nil {
		return 0, err
	}
	m := changeLine.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("the forge did not tell a number: %s", out)
	}
	return strconv.Atoi(m[1])
}

// approve votes until a web takes it. That it answered counts; a vote whose answer got lost may count, too (see settle).
func (l *load) approve(ctx context.Context, number int, broken bool) {
	l.mu.Lock()
	l.unsure[number] = broken
	l.mu.Unlock()
	for i := 0; ctx.Err() == nil; i++ {
		c := local.Client{URL: l.c.Pages[i%len(l.c.Pages)] + "/forge/local", User: "ada"}
		if err := c.Review(ctx, number, local.Review{Votes: map[string]int{"Approved": 1}}); err == nil {
			l.mu.Lock()
			l.approved = append(l.approved, number)
			l.broken[number] = broken
			delete(l.unsure, number)
			l.mu.Unlock()
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// settle finds out which votes counted whose answer never came.
func (l *load) settle(ctx context.Context, f *local.Client) error {
	for number, broken := range l.unsure {
		d, err := f.Change(ctx, number)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(d.Votes, func(v change.Vote) bool { return v.Label == "Approved" }) {
			l.approved = append(l.approved, number)
			l.broken[number] = broken
		}
	}
	return nil
}
