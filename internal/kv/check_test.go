package kv_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
)

// What Check refuses is in kvtest, for every store; here is what it must not refuse.
func TestCheckAccepts(t *testing.T) {
	for name, txn := range map[string]kv.Txn{
		"nothing":                  {},
		"compare and write a key":  {If: []kv.Cmp{kv.Missing("a"), kv.Unchanged("a", 0)}, Then: []kv.Op{kv.Put("a", nil)}},
		"prefix beside its own":    {Then: []kv.Op{kv.DeletePrefix("a/"), kv.Put("a", nil), kv.Put("a0", nil)}},
		"two prefixes":             {Then: []kv.Op{kv.DeletePrefix("a/"), kv.DeletePrefix("b/")}},
		"everything below nothing": {Then: []kv.Op{kv.DeletePrefix("")}},
	} {
		if err := txn.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSeconds(t *testing.T) {
	for ttl, want := range map[time.Duration]int64{
		1: 1, time.Second: 1, time.Second + 1: 2, 1500 * time.Millisecond: 2, time.Hour: 3600,
	} {
		if got, err := kv.Seconds(ttl); got != want || err != nil {
			t.Errorf("Seconds(%v) = %d, %v; want %d", ttl, got, err, want)
		}
	}
	for _, ttl := range []time.Duration{0, -time.Second} {
		if _, err := kv.Seconds(ttl); !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("Seconds(%v): %v, want ErrInvalid", ttl, err)
		}
	}
}
