package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/gozer-ci/gozer/examples"
	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/forge/local"
)

var deployments = url.Values{"pipeline": {"deploy"}, "limit": {"10"}}

// TenantFile is the example's tenant file.
func TenantFile() ([]byte, error) { return examples.OpenDev.ReadFile("opendev/main.yaml") }

// git runs git as people do, in a folder, and gives all that it said. The demo is on this machine: no proxy leads there.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "no_proxy=*",
		"GIT_AUTHOR_NAME=Ada Operator", "GIT_AUTHOR_EMAIL=ada@opendev.test", "GIT_COMMITTER_NAME=Ada Operator", "GIT_COMMITTER_EMAIL=ada@opendev.test")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String(), nil
}

// lay writes a folder of the example as files; those that begin with #! are made executable, since an
// embedded file has no mode.
func lay(from, to string) error {
	return fs.WalkDir(examples.OpenDev, from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		dst := filepath.Join(to, strings.TrimPrefix(p, from))
		if d.IsDir() {
			return os.MkdirAll(dst, 0o755)
		}
		b, err := examples.OpenDev.ReadFile(p)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if bytes.HasPrefix(b, []byte("#!")) {
			mode = 0o755
		}
		return os.WriteFile(dst, b, mode)
	})
}

// fill puts the example's repositories into the forge, as its administrator, and makes the clone from which
// people push.
func (t *teller) fill(ctx context.Context) error {
	admin := strings.Replace(t.Forge, "://", "://admin:"+t.Admin+"@", 1) + "/a/"
	for _, name := range Projects {
		dir, err := os.MkdirTemp("", "gozer-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := lay("opendev/"+path.Base(name), dir); err != nil {
			return fmt.Errorf("lay out %s: %w", name, err)
		}
		if have, _ := git(ctx, "", "ls-remote", t.Forge+"/"+name, "refs/tags/demo"); strings.TrimSpace(have) != "" {
			continue // an earlier run of the story did it
		}
		for _, args := range [][]string{
			{"init", "-q", "-b", "main"}, {"fetch", "-q", t.Forge + "/" + name, "main"}, {"reset", "-q", "FETCH_HEAD"},
			{"add", "-A"}, {"commit", "-q", "-m", "The content of the example"}, {"tag", "demo"},
			{"push", "-q", admin + name, "HEAD:main", "refs/tags/demo"},
		} {
			if _, err := git(ctx, dir, args...); err != nil {
				return errors.New(strings.ReplaceAll(err.Error(), t.Admin, "..."))
			}
		}
	}
	if _, err := os.Stat(t.clone()); err != nil {
		if _, err := git(ctx, "", "clone", "-q", t.Forge+"/"+project, t.clone()); err != nil {
			return err
		}
	}
	t.say("The forge has %s", strings.Join(Projects, " and "))
	return t.wait(ctx, "the configuration to be loaded", func() (bool, error) {
		names, err := t.pipelines(ctx)
		return len(names) > 0, err
	})
}

var errEnough = errors.New("seen enough")

// pipelines asks the server which there are.
func (t *teller) pipelines(ctx context.Context) (names []string, err error) {
	err = t.api.Follow(ctx, tenant, func(v *api.View) error {
		for name := range v.Pipelines {
			names = append(names, name)
		}
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return names, err
}

var changeLine = regexp.MustCompile(`/c/\S+/\+/(\d+)`)

// push applies a patch of the story on the branch as it is and pushes it for review, as people do; the number
// of the change comes back.
func (t *teller) push(ctx context.Context, name string) (int, error) {
	patch, err := examples.OpenDev.ReadFile("opendev/story/" + name + ".patch")
	if err != nil {
		return 0, err
	}
	file := filepath.Join(t.Data, name+".patch")
	if err := os.WriteFile(file, patch, 0o600); err != nil {
		return 0, err
	}
	for _, args := range [][]string{{"fetch", "-q", "origin"}, {"reset", "-q", "--hard", "refs/tags/demo"}, {"am", "-q", "--committer-date-is-author-date", file}} {
		if _, err := git(ctx, t.clone(), args...); err != nil {
			return 0, err
		}
	}
	subject, err := git(ctx, t.clone(), "log", "-1", "--format=%s")
	if err != nil {
		return 0, err
	}
	t.say("   $ git push origin HEAD:refs/for/main      # %s", strings.TrimSpace(subject))
	out, err := git(ctx, t.clone(), "push", "origin", "HEAD:refs/for/main")
	if m := changeLine.FindStringSubmatch(out); m != nil {
		return strconv.Atoi(m[1])
	}
	if n := t.known(ctx, patch); n > 0 {
		return n, nil // an earlier run of the story pushed it
	}
	return 0, err
}

// known finds the change of a patch that was pushed before, by its Change-Id.
func (t *teller) known(ctx context.Context, patch []byte) int {
	list, err := t.forge.Changes(ctx, local.Filter{Project: project})
	if err != nil {
		return 0
	}
	for _, r := range list {
		if bytes.Contains(patch, []byte(r.ChangeID)) {
			return r.Number
		}
	}
	return 0
}

// tested makes sure, with git alone, that the branch is at the commit that the last merge reported, and that
// its first parents are the commits that were reported before.
func (t *teller) tested(ctx context.Context) error {
	list, err := t.forge.Changes(ctx, local.Filter{Project: project, Status: local.StatusMerged})
	if err != nil {
		return err
	}
	if _, err := git(ctx, t.clone(), "fetch", "-q", "origin"); err != nil {
		return err
	}
	out, err := git(ctx, t.clone(), "rev-list", "--first-parent", "refs/tags/demo..origin/main")
	if err != nil {
		return err
	}
	for _, r := range list {
		if !strings.Contains(out, r.Landed) {
			return fmt.Errorf("change %d landed as %s, which is not on main", r.Number, r.Landed)
		}
	}
	if n := strings.Count(out, "\n"); n != len(list) {
		return fmt.Errorf("main has %d merges, %d changes are merged", n, len(list))
	}
	t.say("   main is exactly the commits that the gate tested (git rev-list --first-parent says so)")
	return nil
}
