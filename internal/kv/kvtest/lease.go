package kvtest

import (
	"errors"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
)

// slow tells whether a lease may rightly have ended although the test meant to be quicker: the machine is busy, and
// its time to live has passed since it was last asked for. The test then tries again, with more time.
func slow(err error, asked time.Time, ttl time.Duration) bool {
	return errors.Is(err, kv.ErrLeaseNotFound) && time.Since(asked) >= ttl
}

// longest is what tests of leases go up to on a busy machine.
const longest = 8 * time.Second

func testLeaseExpires(s *suite) {
	var l kv.LeaseID
	var rev int64
	ttl, asked := time.Second, time.Now()
	for ; ; ttl *= 2 {
		asked = time.Now()                      // before: when the answer comes, some of the time may be over
		l = s.grant(ttl - 999*time.Millisecond) // whole seconds
		var err error
		_, rev, err = s.Commit(s.ctx, kv.Txn{Then: []kv.Op{kv.PutLease("l/a", []byte("1"), l), kv.PutLease("l/b", nil, l), kv.Put("l/c", []byte("stays"))}})
		if err == nil {
			break
		}
		if !slow(err, asked, ttl) || ttl >= longest {
			s.Fatalf("Commit under a new lease of %v: %v", ttl, err)
		}
	}
	got := s.watch("l/", rev+1).want(2)
	if lived := time.Since(asked); lived < ttl {
		s.Errorf("a lease of %v ended after %v", ttl, lived)
	}
	if got[0].Key != "l/a" || got[1].Key != "l/b" || !got[0].Deleted || !got[1].Deleted || got[0].Mod != got[1].Mod {
		s.Errorf("end of the lease: %+v, want both keys deleted in one revision", got)
	}
	s.wantKeys("", "l/c=stays")
	_, err := s.KeepAlive(s.ctx, l)
	s.wantErr(err, kv.ErrLeaseNotFound, "KeepAlive after the end")
}

func testLeaseOfKey(s *suite) {
	l := s.grant(time.Minute)
	s.commit(kv.PutLease("a", []byte("1"), l), kv.Put("b", nil))
	if p := s.get("a"); p.Lease != l {
		s.Errorf("key of lease %d: %+v", l, p)
	}
	if p := s.get("b"); p.Lease != 0 {
		s.Errorf("key of no lease: %+v", p)
	}
}

func testLeaseKeptAlive(s *suite) {
	for ttl := time.Second; ; ttl *= 2 {
		asked := time.Now()
		l := s.grant(ttl)
		_, _, err := s.Commit(s.ctx, kv.Txn{Then: []kv.Op{kv.PutLease("a", []byte("1"), l)}})
		for end := time.Now().Add(3 * ttl); err == nil && time.Now().Before(end); time.Sleep(ttl / 5) {
			sent := time.Now()
			var left time.Duration
			if left, err = s.KeepAlive(s.ctx, l); err == nil && left < ttl {
				s.Fatalf("KeepAlive = %v, of a lease of %v", left, ttl)
			}
			if err == nil {
				asked = sent
			}
		}
		if slow(err, asked, ttl) && ttl < longest {
			continue
		}
		if err != nil {
			s.Fatalf("a lease of %v that is kept alive: %v", ttl, err)
		}
		if n := len(s.read(kv.Query{}).KVs); n != 1 && time.Since(asked) < ttl {
			s.Errorf("%d keys under a lease that is kept alive, want 1", n)
		}
		return
	}
}

func testLeaseRevoke(s *suite) {
	l, other := s.grant(time.Minute), s.grant(time.Minute)
	if l == other {
		s.Fatalf("two leases %d", l)
	}
	before := s.commit(kv.PutLease("b", nil, l), kv.PutLease("a", nil, l), kv.PutLease("c", []byte("1"), other))
	for range 2 { // the second time it has ended already
		if err := s.Revoke(s.ctx, l); err != nil {
			s.Fatalf("Revoke: %v", err)
		}
	}
	s.wantKeys("", "c=1")
	if got := s.watch("", before+1).want(2); got[0].Mod != got[1].Mod {
		s.Errorf("keys of one lease deleted at revisions %d and %d", got[0].Mod, got[1].Mod)
	}
	_, err := s.KeepAlive(s.ctx, l)
	s.wantErr(err, kv.ErrLeaseNotFound, "KeepAlive of a revoked lease")
}

func testLeaseLastWrite(s *suite) {
	l, other := s.grant(time.Minute), s.grant(time.Minute)
	s.commit(kv.PutLease("free", nil, l), kv.PutLease("moved", nil, l), kv.PutLease("again", nil, l), kv.Put("taken", nil))
	s.commit(kv.Put("free", nil), kv.PutLease("moved", nil, other), kv.Delete("again"), kv.PutLease("taken", nil, l))
	s.commit(kv.Put("again", nil))
	if err := s.Revoke(s.ctx, l); err != nil {
		s.Fatal(err)
	}
	s.wantKeys("", "again= free= moved=")
	if err := s.Revoke(s.ctx, other); err != nil {
		s.Fatal(err)
	}
	s.wantKeys("", "again= free=")
}

func testLeaseUnknown(s *suite) {
	ended := s.grant(time.Minute)
	if err := s.Revoke(s.ctx, ended); err != nil {
		s.Fatal(err)
	}
	rev := s.put("a", "1")
	writes := []kv.Op{kv.Put("b", nil), kv.PutLease("c", nil, ended)}
	_, _, err := s.Commit(s.ctx, kv.Txn{Then: writes})
	s.wantErr(err, kv.ErrLeaseNotFound, "Commit under a lease that ended")
	s.wantKeys("", "a=1")
	// Where the compares do not hold, nobody looks at the lease.
	ok, at, err := s.Commit(s.ctx, kv.Txn{If: []kv.Cmp{kv.Missing("a")}, Then: writes})
	if ok || err != nil || at != rev {
		s.Errorf("Commit = %v, %d, %v; want false at revision %d", ok, at, err, rev)
	}
	if err := s.Revoke(s.ctx, ended+12345); err != nil {
		s.Errorf("Revoke of a lease that never was: %v", err)
	}
	_, err = s.Grant(s.ctx, 0)
	s.wantErr(err, kv.ErrInvalid, "Grant of no time")
}
