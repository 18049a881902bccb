package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/forge/local"
)

// After everything was healed, what was begun comes to its end one thing after the other: how fast depends on the
// machine. So patience is for how long nothing at all may end, and enough how long it may take altogether.
const (
	patience = 2 * time.Minute
	enough   = 20 * time.Minute
)

// look waits until everything has come to its end, and compares the repositories, the forge and the history.
func (v *Verdict) look(ctx context.Context, c *Cluster, l *load) error {
	f := &local.Client{URL: c.Pages[0] + "/forge/local", User: "ada"}
	h := api.New(api.ClientConfig{URL: c.Pages[0]})
	if err := l.settle(ctx, f); err != nil {
		return err
	}
	v.Approved = len(l.approved)
	changes, err := v.outcomes(ctx, c, f, l)
	if err != nil {
		return err
	}
	if err := v.idle(ctx, h); err != nil {
		return err
	}
	builds, err := allBuilds(ctx, h)
	if err != nil {
		return err
	}
	v.count(builds)
	tested, err := testedCommits(ctx, h, builds)
	if err != nil {
		return err
	}
	for _, p := range Projects {
		if err := v.repository(ctx, c, p, changes, tested); err != nil {
			return err
		}
	}
	return nil
}

// outcomes waits until of every approved change is known what became of it.
func (v *Verdict) outcomes(ctx context.Context, c *Cluster, f *local.Client, l *load) (map[int]*local.Detail, error) {
	ctx, cancel := context.WithTimeout(ctx, enough)
	defer cancel()
	out := map[int]*local.Detail{}
	open := slices.Clone(l.approved)
	began := time.Now()
	for told, moved := began, began; len(open) > 0; {
		var still []int
		for _, n := range open {
			d, err := f.Change(ctx, n)
			if err != nil {
				if ctx.Err() != nil {
					still = append(still, n)
					continue
				}
				return nil, err
			}
			if d.Status == "MERGED" || refused(d) {
				out[n] = d
				continue
			}
			still = append(still, n)
		}
		if len(still) < len(open) {
			moved = time.Now()
		}
		if open = still; len(open) == 0 || ctx.Err() != nil || time.Since(moved) > patience {
			break
		}
		if time.Since(told) > 5*time.Second {
			c.Say("%d changes are still on their way", len(open))
			told = time.Now()
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
	for _, n := range open {
		v.Lost = append(v.Lost, fmt.Sprintf("change %d was approved, and nothing became of it in %v", n, time.Since(began).Round(time.Second)))
	}
	for n, d := range out {
		switch {
		case d.Status == "MERGED" && l.broken[n]:
			v.Wrong = append(v.Wrong, fmt.Sprintf("change %d is broken and landed", n))
			fallthrough
		case d.Status == "MERGED":
			v.Landed++
		default:
			v.Refused++
			if !l.broken[n] {
				v.Wrong = append(v.Wrong, fmt.Sprintf("change %d is good and was refused: %s", n, last(d)))
			}
		}
	}
	return out, nil
}

func refused(d *local.Detail) bool {
	return slices.ContainsFunc(d.Votes, func(v change.Vote) bool { return v.Label == "Verified" && v.Value == -2 })
}

func last(d *local.Detail) string {
	if len(d.Comments) == 0 {
		return "without a word"
	}
	return strings.ReplaceAll(strings.TrimSpace(d.Comments[len(d.Comments)-1].Text), "\n", " | ")
}

// idle waits until no pipeline has anything left.
func (v *Verdict) idle(ctx context.Context, h *api.Client) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := errors.New("done")
	left := 0
	err := h.Follow(ctx, Tenant, func(view *api.View) error {
		left = len(view.Items)
		if left == 0 {
			return done
		}
		return nil
	})
	if errors.Is(err, done) {
		return nil
	}
	if left > 0 {
		v.Wrong = append(v.Wrong, fmt.Sprintf("%d items are still in the pipelines", left))
		return nil
	}
	return err
}

func allBuilds(ctx context.Context, h *api.Client) ([]api.Build, error) {
	var out []api.Build
	const page = 500
	for {
		list, err := h.Builds(ctx, Tenant, url.Values{"limit": {strconv.Itoa(page)}, "skip": {strconv.Itoa(len(out))}})
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
		if len(list) < page {
			return out, nil
		}
	}
}

// count finds jobs that have two results in one buildset.
func (v *Verdict) count(builds []api.Build) {
	final := map[string]int{}
	for _, b := range builds {
		v.Builds++
		switch {
		case !b.Final && b.Result != "CANCELED":
			v.Repeated++
		case b.Final && b.Result != "CANCELED":
			final[b.JobName+" of buildset "+b.Buildset.UUID]++
		}
	}
	for what, n := range final {
		if n > 1 {
			v.Doubled = append(v.Doubled, fmt.Sprintf("job %s has %d results", what, n))
		}
	}
}

// testedCommits reads from the logs of the gate's good builds on which commits each job passed.
func testedCommits(ctx context.Context, h *api.Client, builds []api.Build) (map[string]map[string]bool, error) {
	out := map[string]map[string]bool{}
	for _, b := range builds {
		if b.Pipeline != "gate" || b.Result != "SUCCESS" {
			continue
		}
		err := h.Log(ctx, b.UUID, 0, false, func(lines []string) error {
			for _, line := range lines {
				if _, commit, ok := strings.Cut(line, "tested "); ok {
					commit = strings.TrimSpace(commit)
					if out[commit] == nil {
						out[commit] = map[string]bool{}
					}
					out[commit][b.JobName] = true
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read the log of build %s of %s: %w", b.UUID, b.JobName, err)
		}
	}
	return out, nil
}

// repository compares what is on a branch with what the forge says landed, and with what was tested.
func (v *Verdict) repository(ctx context.Context, c *Cluster, project string, changes map[int]*local.Detail, tested map[string]map[string]bool) error {
	text, err := Git(ctx, c.Dir, "--git-dir", c.Dir+"/forge/"+project+".git", "log", "--first-parent", "--format=%H", "filled..main")
	if err != nil {
		return err
	}
	landed := map[string]int{}
	for n, d := range changes {
		if d.Project == project && d.Status == "MERGED" {
			landed[d.Landed] = n
		}
	}
	for commit := range strings.FieldsSeq(text) {
		n, ok := landed[commit]
		if !ok {
			v.Wrong = append(v.Wrong, fmt.Sprintf("%s is on main of %s, and no change landed as it", commit, project))
			continue
		}
		delete(landed, commit)
		for _, job := range []string{"unit", "style"} {
			if !tested[commit][job] {
				v.Wrong = append(v.Wrong, fmt.Sprintf("change %d landed in %s as %s, on which job %s did not pass", n, project, commit, job))
			}
		}
	}
	for commit, n := range landed {
		v.Wrong = append(v.Wrong, fmt.Sprintf("change %d landed in %s as %s, which is not on main", n, project, commit))
	}
	return nil
}
