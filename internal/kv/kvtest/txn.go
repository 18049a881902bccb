package kvtest

import (
	"bytes"
	"context"
	"fmt"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/kv"
)

func testCompares(s *suite) {
	created := s.put("a", "1")
	modified := s.put("a", "2")
	tests := []struct {
		cmp  kv.Cmp
		want bool
	}{
		{kv.Missing("a"), false},
		{kv.Missing("b"), true},
		{kv.Created("a", created), true},
		{kv.Created("a", modified), false},
		{kv.Created("b", created), false},
		{kv.Unchanged("a", modified), true},
		{kv.Unchanged("a", created), false},
		{kv.Unchanged("a", 0), false},
		{kv.Unchanged("a", modified+1), false},
		{kv.Created("a", created-1), false},
		{kv.Unchanged("b", modified), false},
		{kv.Unchanged("b", 0), true},
	}
	for _, t := range tests {
		ok, _, err := s.Commit(s.ctx, kv.Txn{If: []kv.Cmp{t.cmp}})
		if err != nil || ok != t.want {
			s.Errorf("compare %+v = %v, %v; want %v", t.cmp, ok, err, t.want)
		}
	}
}

func testFailedCompare(s *suite) {
	s.put("a", "1")
	now := s.put("z", "z")
	// One compare that does not hold is enough.
	ok, rev, err := s.Commit(s.ctx, kv.Txn{
		If:   []kv.Cmp{kv.Missing("b"), kv.Missing("a")},
		Then: []kv.Op{kv.Put("b", []byte("2")), kv.Delete("z")},
	})
	if ok || err != nil || rev != now {
		s.Fatalf("Commit = %v, %d, %v; want false at revision %d", ok, rev, err, now)
	}
	s.wantKeys("", "a=1 z=z")
}

func testOneRevision(s *suite) {
	s.put("gone", "x")
	rev := s.commit(kv.Put("b", []byte("2")), kv.Delete("gone"), kv.Put("a", []byte("1")))
	r := s.read(kv.Query{})
	want := &kv.Result{Rev: rev, KVs: []kv.KV{
		{Key: "a", Value: []byte("1"), Create: rev, Mod: rev},
		{Key: "b", Value: []byte("2"), Create: rev, Mod: rev},
	}}
	if diff := cmp.Diff(want, r); diff != "" {
		s.Errorf("after one transaction (-want +got):\n%s", diff)
	}
	if next := s.put("c", "3"); next <= rev {
		s.Errorf("revision %d after %d", next, rev)
	}
}

func testNoChange(s *suite) {
	rev := s.put("a", "1")
	for _, t := range []kv.Txn{
		{},
		{If: []kv.Cmp{kv.Created("a", rev)}},
		{Then: []kv.Op{kv.Delete("b"), kv.DeletePrefix("c/")}},
	} {
		ok, got, err := s.Commit(s.ctx, t)
		if !ok || got != rev || err != nil {
			s.Errorf("Commit(%+v) = %v, %d, %v; want true at revision %d", t, ok, got, err, rev)
		}
	}
	// The same value again is a change.
	if again := s.put("a", "1"); again <= rev {
		s.Errorf("revision %d of a second put, after %d", again, rev)
	}
}

func testIncarnations(s *suite) {
	first := s.put("a", "1")
	second := s.put("a", "2")
	if p := s.get("a"); p.Create != first || p.Mod != second {
		s.Errorf("after two puts: %+v, want create %d, mod %d", p, first, second)
	}
	s.commitIf([]kv.Cmp{kv.Created("a", first)}, kv.Delete("a"))
	third := s.put("a", "3")
	if p := s.get("a"); p.Create != third || p.Mod != third {
		s.Errorf("after deletion and put: %+v, want create and mod %d", p, third)
	}
	if ok, _, err := s.Commit(s.ctx, kv.Txn{If: []kv.Cmp{kv.Created("a", first)}}); ok || err != nil {
		s.Errorf("fence of an earlier incarnation = %v, %v; want false", ok, err)
	}
}

// get reads a key that must be there.
func (s *suite) get(key string) kv.KV {
	s.Helper()
	p, ok, err := kv.Get(s.ctx, s.Store, key)
	if err != nil || !ok {
		s.Fatalf("Get(%q) = %v, %v", key, ok, err)
	}
	return p
}

func testDeletePrefix(s *suite) {
	for _, k := range []string{"a", "a/1", "a/2", "a0", "b"} {
		s.put(k, "x")
	}
	s.commit(kv.DeletePrefix("a/"), kv.Put("b", []byte("y")))
	s.wantKeys("", "a=x a0=x b=y")
	s.commit(kv.DeletePrefix(""))
	s.wantKeys("", "")
}

func testValuesCopied(s *suite) {
	v := []byte("before")
	s.commit(kv.Put("a", v), kv.Put("empty", nil))
	copy(v, "after!")
	s.wantKeys("", "a=before empty=")
}

func testAtLimits(s *suite) {
	var full kv.Txn
	for i := range kv.MaxOps {
		full.If = append(full.If, kv.Missing(fmt.Sprintf("key/%03d", i)))
		full.Then = append(full.Then, kv.Put(fmt.Sprintf("key/%03d", i), nil))
	}
	s.commitIf(full.If, full.Then...)
	if got := len(s.read(kv.Query{Prefix: "key/"}).KVs); got != kv.MaxOps {
		s.Errorf("%d keys after a transaction of %d writes", got, kv.MaxOps)
	}

	var large []kv.Op
	for left := kv.MaxTxn; left > 0; {
		o := kv.Put(fmt.Sprintf("large/%d", len(large)), nil)
		left -= len(o.Key)
		o.Value = bytes.Repeat([]byte{0xff}, min(left, kv.MaxValue))
		left -= len(o.Value)
		large = append(large, o)
	}
	s.commit(large...)
	sum := 0
	for _, p := range s.read(kv.Query{Prefix: "large/"}).KVs {
		sum += len(p.Key) + len(p.Value)
	}
	if sum != kv.MaxTxn {
		s.Errorf("%d bytes after a transaction of %d", sum, kv.MaxTxn)
	}
}

func testBeyondLimits(s *suite) {
	var writes, large []kv.Op
	var cmps []kv.Cmp
	for i := range kv.MaxOps + 1 {
		cmps = append(cmps, kv.Missing(fmt.Sprint(i)))
		writes = append(writes, kv.Put(fmt.Sprint(i), nil))
	}
	for i := range kv.MaxTxn / kv.MaxValue {
		large = append(large, kv.Put(fmt.Sprint(i), make([]byte, kv.MaxValue)))
	}
	s.wantRefused(kv.ErrTooLarge, map[string]kv.Txn{
		"writes":   {Then: writes},
		"compares": {If: cmps, Then: writes[:1]},
		"value":    {Then: []kv.Op{kv.Put("a", make([]byte, kv.MaxValue+1))}},
		"sum":      {Then: large},
	})
}

func testInvalidTxn(s *suite) {
	put := func(key string) kv.Op { return kv.Put(key, nil) }
	s.wantRefused(kv.ErrInvalid, map[string]kv.Txn{
		"empty put":            {Then: []kv.Op{put("")}},
		"empty delete":         {Then: []kv.Op{kv.Delete("")}},
		"empty compare":        {If: []kv.Cmp{kv.Missing("")}, Then: []kv.Op{put("a")}},
		"negative revision":    {If: []kv.Cmp{kv.Created("b", -1)}, Then: []kv.Op{put("a")}},
		"no target":            {If: []kv.Cmp{{Key: "b"}}, Then: []kv.Op{put("a")}},
		"no kind":              {Then: []kv.Op{put("a"), {Key: "b"}}},
		"two puts":             {Then: []kv.Op{put("a"), put("b"), put("a")}},
		"put and delete":       {Then: []kv.Op{put("a"), kv.Delete("a")}},
		"two deletes":          {Then: []kv.Op{put("b"), kv.Delete("a"), kv.Delete("a")}},
		"put below prefix":     {Then: []kv.Op{kv.DeletePrefix("a/"), put("a/b")}},
		"delete below prefix":  {Then: []kv.Op{put("b"), kv.Delete("a/b"), kv.DeletePrefix("a/")}},
		"prefix below prefix":  {Then: []kv.Op{put("b"), kv.DeletePrefix("a/b/"), kv.DeletePrefix("a/")}},
		"prefix twice":         {Then: []kv.Op{put("b"), kv.DeletePrefix("a/"), kv.DeletePrefix("a/")}},
		"put beside empty one": {Then: []kv.Op{put("b"), kv.DeletePrefix("")}},
	})
}

// wantRefused expects each transaction to give want, and to write nothing.
func (s *suite) wantRefused(want error, txns map[string]kv.Txn) {
	s.Helper()
	rev := s.put("here", "before")
	for name, t := range txns {
		ok, _, err := s.Commit(s.ctx, t)
		if ok {
			s.Errorf("%s: committed", name)
		}
		s.wantErr(err, want, name)
	}
	s.wantKeys("", "here=before")
	if now := s.read(kv.Query{}).Rev; now != rev {
		s.Errorf("revision went from %d to %d", rev, now)
	}
}

func testCanceled(s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_, _, err := s.Commit(ctx, kv.Txn{Then: []kv.Op{kv.Put("a", nil)}})
	s.wantErr(err, context.Canceled, "Commit")
	_, err = s.Range(ctx, kv.Query{})
	s.wantErr(err, context.Canceled, "Range")
	err = s.Watch(ctx, "", 0, func(kv.Batch) error { return nil })
	s.wantErr(err, context.Canceled, "Watch")
	_, err = s.Grant(ctx, patience)
	s.wantErr(err, context.Canceled, "Grant")
}
