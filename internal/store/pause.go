package store

import (
	"context"
	"errors"
	"time"
)

// Pause is that a component takes no more work. It is kept under the component's name, which outlives its processes,
// until somebody takes it back.
type Pause struct {
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
	Since  time.Time `json:"since"`
	// Host is where the component was then.
	Host string `json:"host,omitempty"`
}

// PausePrefix is where the pauses of a role's components are.
func PausePrefix(role string) string { return "/pause/" + role + "/" }

// Paused reads the pause of a component; nil where it is not paused.
func (s *Store) Paused(ctx context.Context, role, component string) (*Pause, error) {
	r, err := Records[Pause](s, PausePrefix(role)).Get(ctx, seg(component))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &r.Value, nil
}

// Pause keeps the pause of a component; nil takes it back.
func (s *Store) Pause(ctx context.Context, role, component string, p *Pause) error {
	return Records[Pause](s, PausePrefix(role)).Change(ctx, seg(component), func(v *Pause, exists bool) (bool, error) {
		if p == nil {
			return false, nil
		}
		*v = *p
		return true, nil
	})
}
