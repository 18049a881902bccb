package kvtest

import (
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
)

func testLeaseExpires(s *suite) {
	l := s.grant(time.Millisecond) // a whole second, at least
	granted := time.Now()
	rev := s.commit(kv.PutLease("l/a", []byte("1"), l), kv.PutLease("l/b", nil, l), kv.Put("l/c", []byte("stays")))
	if p := s.get("l/a"); p.Lease != l {
		s.Errorf("key of lease %d: %+v", l, p)
	}
	w := s.watch("l/", rev+1)
	got := w.want(2)
	if lived := time.Since(granted); lived < 900*time.Millisecond {
		s.Errorf("lease of a second ended after %v", lived)
	}
	if got[0].Key != "l/a" || got[1].Key != "l/b" || !got[0].Deleted || !got[1].Deleted || got[0].Mod != got[1].Mod {
		s.Errorf("end of the lease: %+v, want both keys deleted in one revision", got)
	}
	s.wantKeys("", "l/c=stays")
	_, err := s.KeepAlive(s.ctx, l)
	s.wantErr(err, kv.ErrLeaseNotFound, "KeepAlive after the end")
}

func testLeaseKeptAlive(s *suite) {
	l := s.grant(time.Second)
	s.commit(kv.PutLease("a", []byte("1"), l))
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		left, err := s.KeepAlive(s.ctx, l)
		if err != nil || left < time.Second {
			s.Fatalf("KeepAlive = %v, %v", left, err)
		}
	}
	s.wantKeys("", "a=1")
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
