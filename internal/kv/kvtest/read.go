package kvtest

import (
	"fmt"
	"io"

	"github.com/gozer-ci/gozer/internal/kv"
)

func testRangePrefix(s *suite) {
	rev := s.commit(kv.Put("b/2", []byte("2")), kv.Put("a", []byte("a")), kv.Put("b/10", []byte("10")),
		kv.Put("b", []byte("b")), kv.Put("c", []byte("c")))
	tests := []struct {
		q    kv.Query
		want string
	}{
		{kv.Query{}, "a=a b=b b/10=10 b/2=2 c=c"},
		{kv.Query{Prefix: "b"}, "b=b b/10=10 b/2=2"},
		{kv.Query{Prefix: "b/"}, "b/10=10 b/2=2"},
		{kv.Query{Prefix: "d"}, ""},
		{kv.Query{Key: "b"}, "b=b"},
		{kv.Query{Key: "b/"}, ""},
		{kv.Query{KeysOnly: true, Prefix: "b/"}, "b/10= b/2="},
		{kv.Query{KeysOnly: true, Key: "a"}, "a="},
	}
	for _, t := range tests {
		r := s.read(t.q)
		s.wantWords(r, t.want)
		if r.Rev != rev || r.More {
			s.Errorf("%+v: revision %d, more %v; want %d and no more", t.q, r.Rev, r.More, rev)
		}
	}
}

// testRangeOddKeys: a prefix is bytes, also those that have no successor of the same length.
func testRangeOddKeys(s *suite) {
	keys := []string{"\x00", "\x00\x00", "a\x00b", "a\xff", "a\xff\xff", "ab", "\xff", "\xff\xffz"}
	for _, k := range keys {
		s.put(k, "x")
	}
	for prefix, want := range map[string]int{"": 8, "\x00": 2, "a": 4, "a\xff": 2, "a\xff\xff": 1, "\xff": 2, "\xff\xff": 1, "b": 0} {
		if got := len(s.read(kv.Query{Prefix: prefix}).KVs); got != want {
			s.Errorf("%d keys below %q, want %d", got, prefix, want)
		}
	}
	s.commit(kv.DeletePrefix("\xff"), kv.DeletePrefix("a\xff"))
	if got := len(s.read(kv.Query{}).KVs); got != 4 {
		s.Errorf("%d keys after deleting two prefixes, want 4", got)
	}
}

func testRangePages(s *suite) {
	for i := range 7 {
		s.put(fmt.Sprintf("p/%d", i), "x")
	}
	s.put("q", "x")
	tests := []struct {
		after string
		limit int
		want  string
		more  bool
	}{
		{"", 3, "p/0=x p/1=x p/2=x", true},
		{"p/2", 3, "p/3=x p/4=x p/5=x", true},
		{"p/5", 3, "p/6=x", false},
		{"p/5", 1, "p/6=x", false},
		{"p/5", 0, "p/6=x", false},
		{"p/6", 3, "", false},
		{"p/4\x00", 0, "p/5=x p/6=x", false}, // a key that does not exist
		{"a", 1, "p/0=x", true},              // before the prefix
		{"z", 0, "", false},                  // behind it
		{"", 7, "p/0=x p/1=x p/2=x p/3=x p/4=x p/5=x p/6=x", false},
	}
	for _, t := range tests {
		r := s.read(kv.Query{Prefix: "p/", After: t.after, Limit: t.limit})
		s.wantWords(r, t.want)
		if r.More != t.more {
			s.Errorf("after %q, limit %d: more = %v", t.after, t.limit, r.More)
		}
	}
}

func testRangeAtRevision(s *suite) {
	one := s.put("a", "1")
	two := s.commit(kv.Put("a", []byte("2")), kv.Put("b", []byte("2")))
	three := s.commit(kv.Delete("a"))
	four := s.put("a", "4")
	for rev, want := range map[int64]string{one: "a=1", two: "a=2 b=2", three: "b=2", four: "a=4 b=2"} {
		r := s.read(kv.Query{Rev: rev})
		s.wantWords(r, want)
		if r.Rev != rev {
			s.Errorf("result describes revision %d, want %d", r.Rev, rev)
		}
	}
	if r := s.read(kv.Query{Rev: two, Limit: 1}); !r.More || r.KVs[0].Mod != two || r.KVs[0].Create != one {
		s.Errorf("page at revision %d: %+v", two, r)
	}
	_, err := s.Range(s.ctx, kv.Query{Rev: four + 1})
	s.wantErr(err, kv.ErrFutureRevision, "range in the future")
}

func testInvalidRange(s *suite) {
	for _, q := range []kv.Query{{Key: "a", Prefix: "a"}, {Key: "a", After: "a"}, {Limit: -1}, {Rev: -1}} {
		_, err := s.Range(s.ctx, q)
		s.wantErr(err, kv.ErrInvalid, fmt.Sprintf("Range(%+v)", q))
	}
}

func testClosed(s *suite) {
	c, ok := s.Store.(io.Closer)
	if !ok {
		s.Skip("store has no Close")
	}
	w := s.watch("", s.put("a", "1"))
	w.want(1)
	l := s.grant(patience)
	if err := c.Close(); err != nil {
		s.Fatal(err)
	}
	s.wantErr(<-w.ended, kv.ErrClosed, "Watch that was running")

	_, _, err := s.Commit(s.ctx, kv.Txn{})
	s.wantErr(err, kv.ErrClosed, "Commit")
	_, err = s.Range(s.ctx, kv.Query{})
	s.wantErr(err, kv.ErrClosed, "Range")
	s.wantErr(s.Watch(s.ctx, "", 1, func(kv.Batch) error { return nil }), kv.ErrClosed, "Watch")
	_, err = s.Grant(s.ctx, patience)
	s.wantErr(err, kv.ErrClosed, "Grant")
	_, err = s.KeepAlive(s.ctx, l)
	s.wantErr(err, kv.ErrClosed, "KeepAlive")
	s.wantErr(s.Revoke(s.ctx, l), kv.ErrClosed, "Revoke")
	if err := c.Close(); err != nil {
		s.Errorf("second Close: %v", err)
	}
}
