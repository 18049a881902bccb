package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Projects that changes are proposed to, beside config.
var Projects = []string{"one", "two", "three"}

// Tenant is the name of the tenant.
const Tenant = "cluster"

const configuration = `
- pipeline:
    name: check
    manager: independent
    trigger: {local: [{event: patchset-created}]}
    success: {local: {Verified: 1}}
    failure: {local: {Verified: -1}}
- pipeline:
    name: gate
    manager: dependent
    precedence: high
    require: {local: {open: true, current-patchset: true, approval: [{Approved: 1}]}}
    trigger: {local: [{event: comment-added, approval: [{Approved: 1}]}]}
    success: {local: {Verified: 2, submit: true}}
    failure: {local: {Verified: -2}}
- pipeline:
    name: deploy
    manager: serial
    post-review: true
    trigger: {local: [{event: change-merged}]}
    success: {local: {}}
    failure: {local: {}}
- semaphore: {name: fleet, max: 1}
- job: {name: base, parent: null}
- job: {name: unit, run: tools/unit}
- job: {name: style, run: tools/style}
- job: {name: install, run: tools/install, semaphores: fleet}
- project:
    queue: integrated
    name: ^(one|two|three)$
    check: {jobs: [unit]}
    gate: {jobs: [unit, style]}
    deploy: {jobs: [install]}
- queue: {name: integrated}
`

// The jobs tell in their log which commit they were run on: what lands is held against it.
const script = `#!/bin/sh
echo "tested $(git rev-parse HEAD)"
sleep %s
if test -e broken; then echo "this is broken"; exit 1; fi
`

func (k *Cluster) tenants() error {
	return os.WriteFile(filepath.Join(k.Dir, "tenants.yaml"), []byte("- tenant:\n    name: "+Tenant+
		"\n    source:\n      local:\n        config-projects:\n        - config: {load-branch: main}\n        untrusted-projects: ["+strings.Join(Projects, ", ")+"]\n"), 0o600)
}

// fill puts content into the repositories, unless an earlier run did.
func (k *Cluster) fill(ctx context.Context) error {
	if err := k.Procs[3].waitAnswer(ctx); err != nil {
		return err
	}
	for _, name := range append(Projects, "config") {
		files := map[string]string{"tools/unit": fmt.Sprintf(script, "0.3"), "tools/style": fmt.Sprintf(script, "0.1"), "tools/install": fmt.Sprintf(script, "0.1"), "README": name + "\n"}
		if name == "config" {
			files = map[string]string{"zuul.yaml": configuration}
			for tool, d := range map[string]string{"unit": "0.3", "style": "0.1", "install": "0.1"} {
				files["tools/"+tool] = fmt.Sprintf(script, d)
			}
		}
		if have, _ := Git(ctx, "", "ls-remote", k.Repository(name), "refs/tags/filled"); strings.TrimSpace(have) != "" {
			continue
		}
		dir, err := os.MkdirTemp("", "gozer-cluster-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		for path, text := range files {
			full := filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(full, []byte(text), 0o755); err != nil {
				return err
			}
		}
		admin := strings.Replace(k.Pages[0], "://", "://admin:"+k.admin+"@", 1) + "/forge/local/a/" + name
		for _, args := range [][]string{
			{"init", "-q", "-b", "main"}, {"fetch", "-q", k.Repository(name), "main"}, {"reset", "-q", "FETCH_HEAD"}, {"add", "-A"},
			{"commit", "-q", "-m", "Content"}, {"tag", "filled"}, {"push", "-q", admin, "HEAD:main", "refs/tags/filled"},
		} {
			if _, err := Git(ctx, dir, args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// Repository is where a project is cloned from.
func (k *Cluster) Repository(name string) string { return k.Pages[0] + "/forge/local/" + name }

// Git runs git as people do.
func Git(ctx context.Context, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "no_proxy=*",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String(), nil
}
