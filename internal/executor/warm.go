package executor

import (
	"context"
	"path/filepath"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/sandbox"
)

// startWarm runs a playbook in a fork of a warm Ansible: bubblewrap makes the sandbox as for any other
// command and holds it, and the fork goes into it.
func (x *Executor) startWarm(ctx context.Context, env *ansible.Environment, box sandbox.Box, own bool, c ansible.Command) (ansible.Process, error) {
	held, err := x.Sandbox.Hold(ctx, box)
	if err != nil {
		return nil, err
	}
	at := ansible.Place{PID: held.PID, Groups: held.Groups, Files: held.Limits.Files, FileSize: held.Limits.FileSize,
		Processes: held.Limits.Processes, Memory: held.Limits.Memory, OwnModules: own}
	p, err := x.warm.Start(ctx, env, at, c)
	if err != nil {
		held.Release()
		return nil, err
	}
	return &warmPlay{p, held}, nil
}

// warmPlay is a playbook and the sandbox that it is in, which end together.
type warmPlay struct {
	ansible.Process
	held *sandbox.Held
}

func (w *warmPlay) Wait() (int, error) {
	defer w.held.Release()
	return w.Process.Wait()
}

func (w *warmPlay) Kill() {
	w.held.Kill()
	w.Process.Kill()
}

// ownModules tells whether a repository that the playbook sees brings modules.
func (p *playbook) ownModules() bool {
	if p == nil {
		return false
	}
	for _, b := range p.binds {
		for _, pattern := range []string{"library", "roles/*/library", "*/library", "*/*/library"} {
			if found, err := filepath.Glob(filepath.Join(b.Path, pattern)); err != nil || len(found) > 0 {
				return true
			}
		}
	}
	return false
}
