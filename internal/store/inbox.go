package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// spill is the size from which on a body goes into a blob of its own.
const spill = 128 << 10

// seg makes a name safe as one segment of a key.
func seg(s string) string { return url.PathEscape(s) }

// InboxPrefix is where the inputs of a pipeline wait, in the order of their creation.
func InboxPrefix(tenant, pipe string) string { return "/inbox/" + seg(tenant) + "/" + seg(pipe) + "/" }

// EventPrefix is where the trigger events of a tenant wait.
func EventPrefix(tenant string) string { return "/event/" + seg(tenant) + "/" }

// unique is a name that nobody else makes; n orders names made for one transaction.
func (s *Store) unique(n int) string {
	var b [12]byte
	_, _ = io.ReadFull(s.random, b[:]) // never fails (crypto/rand)
	return fmt.Sprintf("%04d-%s", n, hex.EncodeToString(b[:]))
}

// entry is the value of an inbox or event key: the body, or the blob that holds it.
type entry struct {
	Body json.RawMessage `json:"body,omitempty"`
	Blob string          `json:"blob,omitempty"`
}

func (s *Store) pack(ctx context.Context, body []byte) ([]byte, error) {
	if len(body) < spill {
		return encode(entry{Body: body}), nil
	}
	name, err := s.PutBlob(ctx, body)
	if err != nil {
		return nil, err
	}
	return encode(entry{Blob: name}), nil
}

func (s *Store) unpack(ctx context.Context, value []byte) ([]byte, error) {
	var e entry
	if err := json.Unmarshal(value, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if e.Blob != "" {
		b, err := s.Blob(ctx, e.Blob)
		if errors.Is(err, ErrNotFound) {
			err = fmt.Errorf("%w: %w", ErrUnreadable, err)
		}
		return b, err
	}
	return e.Body, nil
}

// InputOps are the writes that append inputs to a pipeline's inbox, in order, as part of a transaction.
func (s *Store) InputOps(ctx context.Context, tenant, pipe string, in ...pipeline.Input) ([]kv.Op, error) {
	ops := make([]kv.Op, 0, len(in))
	for i, x := range in {
		key := InboxPrefix(tenant, pipe) + s.unique(i)
		body, err := pipeline.MarshalInput(x)
		if err != nil {
			return nil, fmt.Errorf("encode %T for %s/%s: %w", x, tenant, pipe, err)
		}
		v, err := s.pack(ctx, body)
		if err != nil {
			return nil, err
		}
		ops = append(ops, kv.Put(key, v))
	}
	return ops, nil
}

// Send appends inputs to a pipeline's inbox.
func (s *Store) Send(ctx context.Context, tenant, pipe string, in ...pipeline.Input) error {
	ops, err := s.InputOps(ctx, tenant, pipe, in...)
	if err != nil {
		return err
	}
	_, err = s.Write(ctx, Fence{}, ops...)
	return err
}

// Input decodes the value of an inbox key. ErrUnreadable where that is not possible, and never will be.
func (s *Store) Input(ctx context.Context, e kv.KV) (pipeline.Input, error) {
	body, err := s.unpack(ctx, e.Value)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", e.Key, err)
	}
	in, err := pipeline.UnmarshalInput(body)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w: %w", e.Key, ErrUnreadable, err)
	}
	return in, nil
}

// EventOps are the writes that append events to a tenant's queue, as part of a transaction.
func (s *Store) EventOps(ctx context.Context, tenant string, evs ...event.Event) ([]kv.Op, error) {
	ops := make([]kv.Op, 0, len(evs))
	for i := range evs {
		v, err := s.pack(ctx, encode(&evs[i]))
		if err != nil {
			return nil, err
		}
		ops = append(ops, kv.Put(EventPrefix(tenant)+s.unique(i), v))
	}
	return ops, nil
}

// AppendEvent puts one event into the queues of several tenants, in one transaction.
func (s *Store) AppendEvent(ctx context.Context, tenants []string, e event.Event) error {
	var ops []kv.Op
	for _, t := range tenants {
		o, err := s.EventOps(ctx, t, e)
		if err != nil {
			return err
		}
		ops = append(ops, o...)
	}
	if len(ops) == 0 {
		return nil
	}
	if _, err := s.Write(ctx, Fence{}, ops...); err != nil {
		return fmt.Errorf("append event %s: %w", e.ID, err)
	}
	return nil
}

// Event decodes the value of an event key. ErrUnreadable where that is not possible, and never will be.
func (s *Store) Event(ctx context.Context, e kv.KV) (*event.Event, error) {
	body, err := s.unpack(ctx, e.Value)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", e.Key, err)
	}
	ev := new(event.Event)
	if err := json.Unmarshal(body, ev); err != nil {
		return nil, fmt.Errorf("decode %s: %w: %w", e.Key, ErrUnreadable, err)
	}
	return ev, nil
}

// NewID is an identifier that nobody else makes: a random UUID.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// unseg reads a segment of a key.
func unseg(s string) string {
	if t, err := url.PathUnescape(s); err == nil {
		return t
	}
	return s
}
