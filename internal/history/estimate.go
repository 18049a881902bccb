package history

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// estimateOver is how many successes an estimate looks at.
const estimateOver = 10

// Estimate is how long a job took lately.
type Estimate struct {
	// Median and Mean of the last successes; Count says how many there were, at most 10.
	Median, Mean time.Duration
	Count        int
}

// Estimates tells for every job of a project's pipeline how long it will probably take: from its last
// 10 successes there. Jobs that never succeeded are missing. Project is a canonical name; empty: all of them.
func (d *DB) Estimates(ctx context.Context, tenant, pipeline, project string) (map[string]Estimate, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	rows, err := d.sql.QueryContext(ctx, d.bind(`SELECT job_name, took FROM (
			SELECT b.job_name, b.end_time - b.start_time AS took, ROW_NUMBER() OVER (PARTITION BY b.job_name ORDER BY b.id DESC) AS n
			FROM build b JOIN buildset s ON s.id = b.buildset_id JOIN ref r ON r.id = b.ref_id
			WHERE s.tenant = ? AND s.pipeline = ? AND (? = '' OR r.canonical = ?) AND b.result = 'SUCCESS' AND b.final = ?
				AND b.start_time > 0 AND b.end_time >= b.start_time
		) AS recent WHERE n <= ? ORDER BY job_name, took`), tenant, pipeline, project, project, true, estimateOver)
	if err != nil {
		return nil, fmt.Errorf("estimate the jobs of %s in %s: %w", project, pipeline, err)
	}
	took := map[string][]time.Duration{}
	if _, err := scan(rows, func(_ *struct{}, scan func(...any) error) error {
		var name string
		var us int64
		if err := scan(&name, &us); err != nil {
			return err
		}
		took[name] = append(took[name], time.Duration(us)*time.Microsecond)
		return nil
	}); err != nil {
		return nil, err
	}
	out := map[string]Estimate{}
	for name, list := range took {
		out[name] = estimate(list)
	}
	return out, nil
}

// estimate sums up durations; there is at least one.
func estimate(took []time.Duration) Estimate {
	slices.Sort(took)
	var sum time.Duration
	for _, t := range took {
		sum += t
	}
	n := len(took)
	return Estimate{Median: (took[(n-1)/2] + took[n/2]) / 2, Mean: sum / time.Duration(n), Count: n}
}

// Answer is what history has for a job that requires something of changes that are not tested now: in the order
// of the changes, each one's artifacts as they are passed on, or why there are none.
func (d *DB) Answer(ctx context.Context, tenant, pipe string, q *pipeline.FindArtifacts) (*pipeline.Provided, error) {
	out := &pipeline.Provided{Item: q.Item, Buildset: q.Buildset, Job: q.Job, Token: q.Token}
	for _, c := range q.Changes {
		found, failed, err := d.Provided(ctx, tenant, pipe, c, q.Names)
		if err != nil {
			return nil, err
		}
		out.Artifacts = append(out.Artifacts, found...)
		if out.Failed == "" {
			out.Failed = failed
		}
	}
	return out, nil
}

// Provided finds what a change's latest buildset in a pipeline provides of names (semantics 2.13). failed tells
// of the first build that provides one of them and did not succeed; the artifacts do not count then. A change
// that has no such build gives nothing.
func (d *DB) Provided(ctx context.Context, tenant, pipe string, c *change.Change, names []string) (found []pipeline.Artifact, failed string, err error) {
	if len(names) == 0 {
		return nil, "", nil
	}
	final := true
	sets, err := d.providing(ctx, tenant, pipe, c, names)
	if err != nil || sets == "" {
		return nil, "", err
	}
	builds, err := d.Builds(ctx, tenant, Filter{Buildset: sets, Final: &final, Limit: 1000})
	if err != nil {
		return nil, "", err
	}
	for i := range builds {
		b := &builds[i]
		if b.Ref.Key != string(c.Key()) || len(shared(names, b.Provides)) == 0 {
			continue
		}
		if b.Result != string(pipeline.Success) {
			return nil, fmt.Sprintf("artifact(s) %s provided by build %s (triggered by change %s on project %s), but that build failed with result %q",
				strings.Join(shared(names, b.Provides), ", "), b.UUID, c.Number, c.Project.Name, b.Result), nil
		}
		for _, a := range b.Artifacts {
			found = append(found, pipeline.Artifact{Name: a.Name, URL: a.URL, Metadata: a.Metadata, Project: c.Project.Name,
				Change: c.Number, Patchset: c.Patchset, Job: b.Job})
		}
	}
	slices.Reverse(found)
	return found, "", nil
}

// shared are those of names that are in others, too.
func shared(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(others, n) })
}

// providing is the newest buildset of the change in the pipeline with a build that provides one of names.
func (d *DB) providing(ctx context.Context, tenant, pipe string, c *change.Change, names []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	w := &where{}
	w.add("s.tenant = ? AND s.pipeline = ? AND r.key = ?", tenant, pipe, string(c.Key()))
	w.in("p.name", names)
	rows, err := d.sql.QueryContext(ctx, d.bind(`SELECT s.uuid FROM buildset s JOIN build b ON b.buildset_id = s.id
		JOIN ref r ON r.id = b.ref_id JOIN provides p ON p.build_id = b.id WHERE `+w.String()+" ORDER BY s.id DESC LIMIT 1"), w.args...)
	if err != nil {
		return "", fmt.Errorf("find what %s provides in %s: %w", c.Key(), pipe, err)
	}
	out, err := scan(rows, func(s *string, scan func(...any) error) error { return scan(s) })
	if err != nil || len(out) == 0 {
		return "", err
	}
	return out[0], nil
}
