package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/ansible"
)

// setup gathers facts from the nodes and freezes the variables for trusted playbooks, in one run, and in
// none where there is nothing of either to do.
func (b *build) setup(ctx context.Context) *verdict {
	b.frozen = b.plainVars()
	if b.allNative() {
		return nil
	}
	if err := b.seedFacts(); err != nil {
		return &verdict{retry: true, detail: err.Error()}
	}
	gather := b.gatherable()
	freeze := b.inv.Templated() && b.anyTrusted()
	if len(gather) == 0 && !freeze {
		return nil
	}
	b.console.line("Running Ansible setup")
	r, err := b.runSetup(ctx, gather, freeze)
	b.learn(r)
	switch {
	case ctx.Err() != nil:
		return &verdict{aborted: true}
	case err != nil:
		return &verdict{retry: true, detail: err.Error()}
	case r.Outcome == ansible.TimedOut:
		return &verdict{retry: true, detail: "Ansible setup timeout"}
	case r.Outcome == ansible.Unreachable:
		return &verdict{retry: true, detail: "Host unreachable: " + strings.Join(r.Unreachable, ", ") + b.whyUnreachable()}
	case r.Code != 0:
		for line := range strings.Lines(r.Output) {
			b.console.line("%s", strings.TrimRight(line, "\n"))
		}
		return &verdict{retry: true, detail: "Ansible setup failed: " + b.firstFailure()}
	}
	if freeze {
		b.readFrozen()
	}
	return nil
}

func (b *build) allNative() bool {
	for _, ps := range [][]*playbook{b.pre, b.run, b.post} {
		for _, p := range ps {
			if !p.native {
				return false
			}
		}
	}
	return true
}

func (b *build) anyTrusted() bool {
	for _, ps := range [][]*playbook{b.pre, b.run, b.post} {
		for _, p := range ps {
			if p.Source.Trusted {
				return true
			}
		}
	}
	return false
}

// gatherable are the hosts that facts can be gathered from.
func (b *build) gatherable() []string {
	var out []string
	for _, h := range b.inv.Hosts {
		switch h.Vars["ansible_connection"] {
		case "kubectl", "project", "namespace", "network_cli":
		default:
			out = append(out, h.Name)
		}
	}
	return out
}

// seedFacts makes the executor's own facts known to be what playbooks may know: the time.
func (b *build) seedFacts() error {
	now := time.Now().UTC()
	facts := object{"module_setup": true, "_ansible_facts_gathered": true, "ansible_date_time": object{
		"date": now.Format(time.DateOnly), "time": now.Format(time.TimeOnly), "epoch": fmt.Sprint(now.Unix()),
		"epoch_int": fmt.Sprint(now.Unix()), "iso8601": now.Format("2006-01-02T15:04:05Z"), "year": now.Format("2006"),
		"iso8601_micro": now.Format("2006-01-02T15:04:05.000000Z"), "iso8601_basic": now.Format("20060102T150405000000"),
		"iso8601_basic_short": now.Format("20060102T150405"), "month": now.Format("01"), "day": now.Format("02"),
		"hour": now.Format("15"), "minute": now.Format("04"), "second": now.Format("05"), "weekday": now.Weekday().String(),
		"weekday_number": fmt.Sprint(int(now.Weekday())), "tz": "UTC", "tz_dst": "UTC", "tz_offset": "+0000",
	}}
	text, err := json.Marshal(facts)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir.factCache(), ansible.Localhost), text, 0o600)
}

func (b *build) runSetup(ctx context.Context, gather []string, freeze bool) (ansible.Result, error) {
	env, err := b.ansible()
	if err != nil {
		return ansible.Result{}, err
	}
	plays := []any{}
	if len(gather) > 0 {
		plays = append(plays, object{"hosts": strings.Join(gather, ":"), "gather_facts": false,
			"tasks": []any{object{"name": "Gather facts", "gather_facts": object{"gather_subset": []any{"!all"}}}}})
	}
	if freeze {
		names := object{ansible.Localhost: keys(b.inv.JobVars(ansible.Localhost))}
		for _, h := range b.inv.Names() {
			names[h] = keys(b.inv.JobVars(h))
		}
		plays = append(plays, object{"hosts": ansible.Localhost, "gather_facts": false, "connection": "local",
			"tasks": []any{object{"name": "Freeze variables", "gozer_freeze": object{"path": b.frozenPath(), "names": names}}}})
	}
	dir := b.dir.ansible("setup_playbook")
	text, err := ansible.YAML(plays)
	if err != nil {
		return ansible.Result{}, err
	}
	path := filepath.Join(dir, "setup.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return ansible.Result{}, err
	}
	if err := b.writeRun(dir, ansible.Render{Verbatim: !freeze}); err != nil {
		return ansible.Result{}, err
	}
	run := b.playbookRun(env, b.box(env, nil, "setup", 0), nil, dir, path)
	run.Timeout = b.x.Limits.Setup
	run.Event = func(e *ansible.Event) {
		if e.Kind == "unreachable" || e.Kind == "result" && e.State == "failed" {
			b.console.event(e)
		}
	}
	return ansible.Run(ctx, run)
}

func keys(m object) []any {
	out := []any{}
	for k := range m {
		out = append(out, k)
	}
	return out
}

func (b *build) frozenPath() string { return b.dir.hidden("frozen.json") }

// plainVars are the variables that need no rendering.
func (b *build) plainVars() map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, h := range append(b.inv.Names(), ansible.Localhost) {
		out[h] = object{}
		for k, v := range b.inv.JobVars(h) {
			if !ansible.HasTemplate(v) {
				out[h][k] = v
			}
		}
	}
	return out
}

// readFrozen takes over what was rendered. Without it (a template that never ends), templates stay out.
func (b *build) readFrozen() {
	text, err := readInside(b.dir.hidden(), "frozen.json", 64<<20)
	if err != nil {
		b.log.Warn("the frozen variables cannot be read", "error", err)
		return
	}
	frozen := map[string]map[string]any{}
	if err := json.Unmarshal(text, &frozen); err != nil {
		b.log.Warn("the frozen variables cannot be read", "error", err)
		return
	}
	for h, vars := range frozen {
		for k, v := range vars {
			if b.frozen[h] == nil {
				b.frozen[h] = object{}
			}
			b.frozen[h][k] = v
		}
	}
}

// patterns are the job's failure-output, to be matched at the start of a line. Configuration has
// checked them.
func (b *build) patterns() []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, p := range b.s.Job.FailureOutput {
		if re, err := regexp.Compile("^(?:" + p + ")"); err == nil {
			out = append(out, re)
		}
	}
	return out
}
