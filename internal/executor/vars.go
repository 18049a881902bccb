package executor

import (
	"encoding/base64"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// object is a JSON object as variables have it.
type object = map[string]any

// srcDir is where a project lies below the work folder.
func srcDir(p change.Project, scheme string) string {
	switch scheme {
	case "flat":
		return path.Join("src", p.Short())
	case "unique":
		dir, _ := path.Split(p.Name)
		return path.Join("src", p.Host, dir, url.QueryEscape(p.Name))
	}
	return path.Join("src", p.Canonical())
}

func projectVars(p change.Project) object {
	return object{"name": p.Name, "short_name": p.Short(), "canonical_hostname": p.Host, "canonical_name": p.Canonical()}
}

// refVars tells of one change or ref, as in zuul.items.
func refVars(c *change.Change, scheme string) object {
	p := projectVars(c.Project)
	p["src_dir"] = srcDir(c.Project, scheme)
	v := object{"project": p}
	put := func(k, x string) {
		if x != "" {
			v[k] = x
		}
	}
	put("branch", c.Branch)
	if c.IsChange() {
		v["change"] = c.Number
		v["patchset"] = c.Patchset
		v["change_message"] = ansible.Unsafe(c.Message)
		v["message"] = base64.StdEncoding.EncodeToString([]byte(c.Message))
		put("change_url", c.URL)
		put("topic", c.Topic)
		put("commit_id", c.Commit)
		put("ref", c.Ref)
		return v
	}
	put("ref", c.Ref)
	if tag, ok := strings.CutPrefix(c.Ref, "refs/tags/"); ok {
		put("tag", tag)
	}
	for k, rev := range map[string]string{"oldrev": c.OldRev, "newrev": c.NewRev} {
		if rev != change.Zero {
			put(k, rev)
		}
	}
	switch {
	case c.NewRev != "" && c.NewRev != change.Zero:
		put("commit_id", c.NewRev)
	case c.OldRev != change.Zero:
		put("commit_id", c.OldRev)
	}
	put("change_url", c.URL)
	return v
}

// buildRef is refVars in the form of buildset_refs and build_refs: src_dir stands at the top.
func buildRef(c *change.Change, scheme string) object {
	v := refVars(c, scheme)
	v["src_dir"] = srcDir(c.Project, scheme)
	v["project"] = projectVars(c.Project)
	return v
}

// zuul is the dictionary of that name, semantics 4.5, but for executor and playbook_context.
func (b *build) zuul() object {
	s, j := b.s, b.s.Job
	v := refVars(b.primary, j.WorkspaceScheme)
	v["build"] = string(s.Build)
	v["buildset"] = string(s.Buildset)
	v["event_id"] = s.Event.ID
	v["job"] = j.Name
	v["jobtags"] = list(slices.Sorted(slices.Values(j.Tags)))
	v["voting"] = j.Voting
	v["timeout"] = nil
	if j.Timeout > 0 {
		v["timeout"] = int(j.Timeout.Seconds())
	}
	v["post_timeout"] = nil
	if j.PostTimeout > 0 {
		v["post_timeout"] = int(j.PostTimeout.Seconds())
	}
	v["attempts"] = s.Attempt
	v["max_attempts"] = j.Attempts
	v["ansible_version"] = b.version
	if j.OverrideCheckout != "" {
		v["override_checkout"] = j.OverrideCheckout
	}
	v["child_jobs"] = list(s.ChildJobs)
	v["include_vars"] = b.included
	v["_inheritance_path"] = inheritance(j)
	v["tenant"] = b.tenant
	v["pipeline"] = b.pipeline
	v["post_review"] = s.PostReview
	v["items"] = b.refList(b.itemVars, allKeys(s.Changes))
	v["buildset_refs"] = b.refList(func(c *change.Change) object { return buildRef(c, j.WorkspaceScheme) }, s.Own)
	v["build_refs"] = b.refList(func(c *change.Change) object { return buildRef(c, j.WorkspaceScheme) }, s.Refs)
	projects := object{}
	for _, p := range b.projects {
		x := projectVars(p.project)
		x["src_dir"] = p.srcDir
		x["required"] = p.required
		x["checkout"] = p.at.Name
		x["checkout_description"] = p.at.Why
		x["commit"] = p.at.Commit
		projects[p.project.Canonical()] = x
	}
	v["projects"] = projects
	if len(s.Artifacts) > 0 {
		v["artifacts"] = s.Artifacts
	}
	v["resources"] = object{}
	return v
}

// itemVars are refVars of one of zuul.items: the changes of a cycle, here or ahead, tell that they belong together.
func (b *build) itemVars(c *change.Change) object {
	v := refVars(c, b.s.Job.WorkspaceScheme)
	if item, ok := b.cycle(c.Key()); ok {
		v["bundle_id"] = string(item)
	}
	return v
}

// cycle is the item of the change, where that has more than the one.
func (b *build) cycle(k change.Key) (pipeline.ItemID, bool) {
	if len(b.s.Own) > 1 && slices.Contains(b.s.Own, k) {
		return b.s.Item, true
	}
	changes := map[pipeline.ItemID]int{}
	var own pipeline.ItemID
	for _, op := range b.s.Operations {
		if changes[op.Item]++; op.Key == k {
			own = op.Item
		}
	}
	return own, changes[own] > 1
}

func allKeys(cs []*change.Change) []change.Key {
	var out []change.Key
	for _, c := range cs {
		out = append(out, c.Key())
	}
	return out
}

func (b *build) refList(f func(*change.Change) object, keys []change.Key) []any {
	out := []any{}
	for _, k := range keys {
		if c := b.change(k); c != nil {
			out = append(out, f(c))
		}
	}
	return out
}

func inheritance(j *job.Job) []any {
	out := []any{}
	for _, d := range j.Path {
		out = append(out, "<Job "+d.Job+" source: "+d.Source.Project.Name+"/"+d.Source.Path+"@"+d.Source.Branch+"#"+itoa(d.Line)+">")
	}
	return out
}

func list(ss []string) []any {
	out := []any{}
	for _, s := range ss {
		out = append(out, s)
	}
	return out
}

// executorVars is zuul.executor.
func (b *build) executorVars() object {
	return object{"hostname": b.x.Host, "src_root": b.dir.src(), "log_root": b.dir.logs(), "work_root": b.dir.work(),
		"result_data_file": b.dir.results(), "inventory_file": b.dir.inventory()}
}
