package executor

import (
	"context"
	"time"

	"github.com/gozer-ci/gozer/internal/ansible"
)

func (b *build) native(ctx context.Context, p *playbook, phase string, index int, timeout time.Duration, f flags, secrets object) (ansible.Result, error) {
	return ansible.Result{}, nil
}
