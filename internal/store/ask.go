package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/kv"
)

// Refused is what the owner of a tenant says to a wish that cannot be carried out: a mistake of the person who
// has it, in words for that person.
type Refused struct{ Why string }

// Error is what was said.
func (r *Refused) Error() string { return r.Why }

// Is tells that it is a refusal: ErrRefused.
func (r *Refused) Is(target error) bool { return target == ErrRefused }

// ErrRefused is what every *Refused is.
var ErrRefused = errors.New("refused")

// Ask appends an operator's event to a tenant's queue and waits for what the owner of the tenant says to it:
// nil where what it asks for is on its way, *Refused where it cannot be done. Where ctx ends first, the event
// is in the queue still, and will be carried out.
func (s *Store) Ask(ctx context.Context, tenant string, e event.Event) error {
	e.Reply = s.unique(0)
	ops, err := s.EventOps(ctx, tenant, e)
	if err != nil {
		return err
	}
	rev, err := s.Write(ctx, Fence{}, ops...)
	if err != nil {
		return fmt.Errorf("append the wish to %s: %w", e.Type, err)
	}
	defer func() {
		actx, cancel := aside(ctx)
		defer cancel()
		_, _ = s.Write(actx, Fence{}, kv.Delete(replyKey(e.Reply))) // one that nobody waits for is small
	}()
	rep, err := s.answer(ctx, e.Reply, rev)
	if err != nil {
		return fmt.Errorf("wait for the scheduler of tenant %s: %w", tenant, err)
	}
	if rep.Error != "" {
		return &Refused{rep.Error}
	}
	return nil
}

var errAnswered = errors.New("answered")

// answer waits for the record of a reply.
func (s *Store) answer(ctx context.Context, name string, rev int64) (*reply, error) {
	var got []byte
	err := s.kv.Watch(ctx, replyKey(name), rev, func(b kv.Batch) error {
		for _, c := range b.Changes {
			if !c.Deleted {
				got = c.Value
				return errAnswered
			}
		}
		return nil
	})
	if got == nil {
		return nil, err
	}
	rep := new(reply)
	if err := json.Unmarshal(got, rep); err != nil {
		return nil, fmt.Errorf("decode an answer: %w", err)
	}
	return rep, nil
}
