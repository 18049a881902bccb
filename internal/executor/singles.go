package executor

import (
	"context"
	"sync"
)

// singles lets one at a time do a thing of a name.
type singles struct {
	mu   sync.Mutex
	busy map[string]chan struct{}
}

func (s *singles) do(ctx context.Context, name string, f func() error) error {
	for {
		s.mu.Lock()
		other := s.busy[name]
		if other == nil {
			if s.busy == nil {
				s.busy = map[string]chan struct{}{}
			}
			done := make(chan struct{})
			s.busy[name] = done
			s.mu.Unlock()
			defer func() {
				s.mu.Lock()
				delete(s.busy, name)
				s.mu.Unlock()
				close(done)
			}()
			return f()
		}
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
