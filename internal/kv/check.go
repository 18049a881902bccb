package kv

import (
	"fmt"
	"strings"
	"time"
)

// Check tells whether the transaction keeps to the limits (else ErrTooLarge) and makes sense
// (else ErrInvalid). Every Store checks before it does anything else.
func (t Txn) Check() error {
	if len(t.If) > MaxOps || len(t.Then) > MaxOps {
		return fmt.Errorf("transaction of %d compares and %d writes, at most %d of each: %w",
			len(t.If), len(t.Then), MaxOps, ErrTooLarge)
	}
	size := 0
	for _, c := range t.If {
		if err := c.check(); err != nil {
			return err
		}
		size += len(c.Key)
	}
	for _, o := range t.Then {
		if err := o.check(); err != nil {
			return err
		}
		size += len(o.Key) + len(o.Value)
	}
	if size > MaxTxn {
		return fmt.Errorf("transaction of %d bytes, at most %d: %w", size, MaxTxn, ErrTooLarge)
	}
	return writtenOnce(t.Then)
}

func (c Cmp) check() error {
	if c.Key == "" || c.Rev < 0 || (c.Target != CreateRev && c.Target != ModRev) {
		return fmt.Errorf("compare target %d of key %q with revision %d: %w", c.Target, c.Key, c.Rev, ErrInvalid)
	}
	return nil
}

func (o Op) check() error {
	switch o.Kind {
	case OpPut:
		if len(o.Value) > MaxValue {
			return fmt.Errorf("value of %d bytes for key %q, at most %d: %w", len(o.Value), o.Key, MaxValue, ErrTooLarge)
		}
	case OpDelete:
	case OpDeletePrefix:
		return nil // an empty prefix means every key
	default:
		return fmt.Errorf("write of unknown kind %d to key %q: %w", o.Kind, o.Key, ErrInvalid)
	}
	if o.Key == "" {
		return fmt.Errorf("write to an empty key: %w", ErrInvalid)
	}
	return nil
}

// writtenOnce holds the rule that a transaction writes each key once at the most: what two
// writes of one key at one revision would mean is nothing that a watcher could be told.
func writtenOnce(ops []Op) error {
	keys := make(map[string]struct{}, len(ops))
	var prefixes []int
	for i, o := range ops {
		if o.Kind == OpDeletePrefix {
			prefixes = append(prefixes, i)
			continue
		}
		if _, twice := keys[o.Key]; twice {
			return fmt.Errorf("key %q written twice in one transaction: %w", o.Key, ErrInvalid)
		}
		keys[o.Key] = struct{}{}
	}
	for _, p := range prefixes {
		for i, o := range ops {
			if i != p && strings.HasPrefix(o.Key, ops[p].Key) {
				return fmt.Errorf("%q written beside the deletion of everything below %q: %w", o.Key, ops[p].Key, ErrInvalid)
			}
		}
	}
	return nil
}

// Check tells whether the query makes sense (else ErrInvalid).
func (q Query) Check() error {
	if q.Key != "" && (q.Prefix != "" || q.After != "") {
		return fmt.Errorf("range of key %q and also of prefix %q after %q: %w", q.Key, q.Prefix, q.After, ErrInvalid)
	}
	if q.Limit < 0 || q.Rev < 0 {
		return fmt.Errorf("range with limit %d at revision %d: %w", q.Limit, q.Rev, ErrInvalid)
	}
	return nil
}

// Seconds rounds a time to live up to the whole seconds that a lease is counted in. A time that
// is not positive gives ErrInvalid.
func Seconds(ttl time.Duration) (int64, error) {
	if ttl <= 0 {
		return 0, fmt.Errorf("lease of %v: %w", ttl, ErrInvalid)
	}
	return int64((ttl + time.Second - 1) / time.Second), nil
}
