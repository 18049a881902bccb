package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/gozer-ci/gozer/ansible"
	"github.com/gozer-ci/gozer/internal/deps"
)

// observer is the callback in the job's workspace, for jobs that run Ansible elsewhere (zuul.executor.work_root +
// /.gozer/gozer_observe.py).
const observer = "gozer_observe.py"

// maxObserved bounds what is read of one file of observations, in bytes.
const maxObserved = 32 << 20

// layObserver prepares for observation.
func (b *build) layObserver() error {
	if !b.s.Observe {
		return nil
	}
	text, err := ansible.Files.ReadFile("callback/" + observer)
	if err != nil {
		return err
	}
	dir := b.dir.work(".gozer")
	return errors.Join(os.MkdirAll(b.dir.observed(), 0o755), os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, observer), text, 0o644))
}

// keepObserved keeps what was observed. The job may have put there what it likes: it is read like anything that a
// job wrote.
func (b *build) keepObserved(ctx context.Context) {
	if !b.s.Observe {
		return
	}
	t, err := b.table()
	if err != nil {
		b.warnings = append(b.warnings, "What tasks do is told by the built-in table alone: "+err.Error())
	}
	all := []deps.Observed{}
	entries, err := os.ReadDir(b.dir.observed())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.log.Warn("observations cannot be read", "error", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".jsonl") {
			continue
		}
		lines, err := readInside(b.dir.observed(), e.Name(), maxObserved)
		if err != nil {
			b.log.Warn("observations cannot be read", "file", e.Name(), "error", err)
			continue
		}
		found, bad := deps.Observe(t, lines, e.Name() == "executor.jsonl")
		if bad > 0 {
			b.log.Warn("lines of observations cannot be read", "file", e.Name(), "lines", bad)
		}
		all = append(all, found...)
	}
	text, err := json.Marshal(all)
	if err == nil {
		err = b.x.Logs.Attach(ctx, string(b.s.Build), deps.ObservedFile, bytes.NewReader(text))
	}
	if err != nil {
		b.log.Warn("observations could not be kept", "error", err)
	}
}

// table is what modules do, with what the change's project says of its own in gozer.yaml.
func (b *build) table() (*deps.Table, error) {
	builtin, err := deps.NewTable(deps.Settings{})
	if err != nil {
		return nil, err
	}
	text, err := readInside(b.dir.work(srcDir(b.primary.Project, b.s.Job.WorkspaceScheme)), "gozer.yaml", 1<<20)
	if err != nil {
		return builtin, nil
	}
	set, err := deps.ParseSettings("gozer.yaml", text)
	if err != nil {
		return builtin, err
	}
	t, err := deps.NewTable(set)
	if err != nil {
		return builtin, err
	}
	return t, nil
}
