package etcd_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
)

// TestTogether: of many transactions at once, each has the outcome that it would have alone, whoever went with it.
func TestTogether(t *testing.T) {
	m := start(t, etcd.EmbedConfig{ClientAddr: "127.0.0.1:0"})
	for name, s := range map[string]*etcd.Store{"in process": m.Store(), "dialed": dial(t, m)} {
		t.Run(name, func(t *testing.T) { testTogether(t, s) })
	}
}

func testTogether(t *testing.T, s *etcd.Store) {
	was := put(t, s, "there", "1")
	const rounds = 100
	put := func(key string) []kv.Op { return []kv.Op{kv.Put(key, []byte("x"))} }
	var mu sync.Mutex
	revs, won := map[int64]int{}, 0
	var wg sync.WaitGroup
	try := func(n int, what string, txn kv.Txn, check func(ok bool, err error) bool) {
		wg.Go(func() {
			ok, rev, err := s.Commit(t.Context(), txn)
			mu.Lock()
			defer mu.Unlock()
			if !check(ok, err) {
				t.Errorf("%s %d: %v, %v", what, n, ok, err)
			}
			if ok {
				revs[rev]++
			}
			if what == "race" && ok {
				won++
			}
		})
	}
	held := func(ok bool, err error) bool { return ok && err == nil }
	for i := range rounds {
		key := fmt.Sprint("k", i)
		try(i, "put", kv.Txn{If: []kv.Cmp{kv.Unchanged("there", was)}, Then: put(key)}, held)
		try(i, "compare that fails", kv.Txn{If: []kv.Cmp{kv.Unchanged("there", was+1)}, Then: put("never" + key)},
			func(ok bool, err error) bool { return !ok && err == nil })
		try(i, "prefix", kv.Txn{Then: append(put("p"+key), kv.DeletePrefix(fmt.Sprintf("q%s/", key)))}, held)
		try(i, "race", kv.Txn{If: []kv.Cmp{kv.Missing("race")}, Then: put("race")},
			func(_ bool, err error) bool { return err == nil })
		if i%20 == 0 {
			try(i, "lease that ended", kv.Txn{Then: []kv.Op{kv.PutLease("l"+key, nil, 12345)}},
				func(ok bool, err error) bool { return !ok && errors.Is(err, kv.ErrLeaseNotFound) })
		}
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of %d won the race for one key", won, rounds)
	}
	all, err := s.Range(t.Context(), kv.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if want := 2*rounds + 2; len(all.KVs) != want {
		t.Errorf("%d keys are there, want %d", len(all.KVs), want)
	}
	for _, e := range all.KVs {
		if e.Key != "there" && revs[e.Mod] == 0 {
			t.Errorf("%s was written at revision %d, which nobody was told", e.Key, e.Mod)
		}
	}
	if want := 2*rounds + 1; len(revs) >= want {
		t.Errorf("%d transactions went through in as many revisions: none went with another", want)
	}
	ctx := t.Context()
	if _, _, err := s.Commit(ctx, kv.Txn{Then: []kv.Op{kv.DeletePrefix("")}}); err != nil {
		t.Fatal(err)
	}
}
