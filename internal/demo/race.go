package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/gozer-ci/gozer/internal/api"
)

// race shows what the jobs of the first deployment really touched: two of them the same file, in no order. The
// content had said so before anything ran. The mending change goes the way of all changes, and the deployment that
// it brings has none.
func (t *teller) race(ctx context.Context) error {
	t.chapter(6, "What the jobs really touched, and a race mended")
	first, err := t.deployment(ctx, 1)
	if err != nil {
		return err
	}
	if err := t.races(ctx, first, true); err != nil {
		return err
	}
	t.say("   the content of the playbooks says so, too, without a server and before anything runs")
	err = t.show(ctx, "deps why static zuul", []string{"deps", "why", "static", "zuul", "--path", t.clone()})
	if err != nil {
		return err
	}
	n, err := t.push(ctx, "race")
	if err != nil {
		return err
	}
	if _, err := t.report(ctx, n, 1, "(check pipeline)"); err != nil {
		return err
	}
	if err := t.approve(ctx, n); err != nil {
		return err
	}
	mended, err := t.deployment(ctx, 3)
	if err != nil {
		return err
	}
	return t.races(ctx, mended, false)
}

// races shows the races of a deployment, and makes sure that there are some, or none.
func (t *teller) races(ctx context.Context, of *api.Buildset, some bool) error {
	if err := t.show(ctx, "deps races "+of.UUID, []string{"deps", "races", of.UUID, "--server", t.Server, "--tenant", tenant}); err != nil {
		return err
	}
	r, err := t.api.Races(ctx, tenant, of.UUID)
	if err != nil {
		return err
	}
	want := "no race"
	if some {
		want = "a race"
	}
	if len(r.Observed) == 0 || (len(r.Races) > 0) != some {
		return fmt.Errorf("deployment %s was to have %s: %d races are known, of %d jobs that were observed; of these it is not known what they did: %v",
			of.UUID, want, len(r.Races), len(r.Observed), r.Missing)
	}
	return nil
}

// deployment waits until n deployments have ended, and gives the last of them.
func (t *teller) deployment(ctx context.Context, n int) (*api.Buildset, error) {
	var found *api.Buildset
	err := t.wait(ctx, fmt.Sprintf("deployment %d", n), func() (bool, error) {
		sets, err := t.api.Buildsets(ctx, tenant, deployments)
		if len(sets) >= n {
			found = &sets[len(sets)-n]
		}
		return found != nil && found.Result != "", err
	})
	if err == nil && found.Result != "SUCCESS" {
		err = fmt.Errorf("deployment %s ended with %s; its jobs' logs say why: %s", found.UUID, found.Result, t.Server)
	}
	return found, err
}

// show runs a command of gozer, called as people would, and shows what it says. That the answer is no is an answer.
func (t *teller) show(ctx context.Context, called string, args []string) error {
	t.say("   $ gozer %s", called)
	cmd := exec.CommandContext(ctx, t.Program, args...)
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("gozer %s: %w\n%s", strings.Join(args, " "), err, bad.String())
	}
	for l := range strings.Lines(out.String()) {
		l = strings.TrimRight(l, "\n")
		if strings.TrimSpace(l) == "" {
			continue
		}
		if r := []rune(l); len(r) > max(t.Width, 140)-8 {
			l = string(r[:max(t.Width, 140)-9]) + "…"
		}
		t.say("     | %s", l)
	}
	return nil
}
