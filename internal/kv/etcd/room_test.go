package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gozer-ci/gozer/internal/gatetest/smalldisk"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
)

// eventually waits until done, for two minutes at most.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in two minutes: %s", what)
		}
	}
}

func try(s kv.Store, ops ...kv.Op) error {
	_, _, err := s.Commit(context.Background(), kv.Txn{Then: ops})
	return err
}

// The disk of a member fills up while it is written to, to the last byte and from one moment to the next: the
// member lives, takes nothing new, still lets leases and deletes through, and goes on when there is room.
func TestTheDiskIsFull(t *testing.T) {
	disk := smalldisk.New(t, 400<<20)
	c := etcd.EmbedConfig{Dir: filepath.Join(disk.Dir, "etcd")}
	m := start(t, c)
	s := m.Store()
	put(t, s, "kept", "1")
	lease, err := s.Grant(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	for _, free := range []int64{60 << 20, 0} {
		t.Run(fmt.Sprintf("%d MiB are left", free>>20), func(t *testing.T) {
			disk.Leave(free)
			eventually(t, "writes are refused", func() bool {
				err := try(s, kv.Put(fmt.Sprint("n", written), make([]byte, 4<<10)))
				if err == nil {
					written++
				} else if !errors.Is(err, kv.ErrNoSpace) {
					t.Fatal(err)
				}
				return err != nil
			})
			eventually(t, "the member says why", func() bool { return m.Full() != nil })
			wantErr(t, m.Full(), disk.Dir)
			wantValue(t, s, "kept", "1")
			if _, err := s.KeepAlive(t.Context(), lease); err != nil {
				t.Errorf("a lease is not kept alive: %v", err)
			}
			var all sync.WaitGroup
			for i := range 60 { // also where transactions go together
				all.Go(func() {
					put := i%3 > 0
					op := kv.Delete(fmt.Sprint("nothing", i))
					if put {
						op = kv.Put(fmt.Sprint("new", i), nil)
					}
					if err := try(s, op); put != errors.Is(err, kv.ErrNoSpace) {
						t.Errorf("put %v: %v", put, err)
					}
				})
			}
			all.Wait()
			disk.Clear()
			eventually(t, "writes go on", func() bool { return try(s, kv.Put("kept", []byte("1"))) == nil })
			if err := m.Full(); err != nil {
				t.Errorf("there is room, and the member says %v", err)
			}
		})
	}
	for i := range written {
		if _, ok, err := kv.Get(t.Context(), s, fmt.Sprint("n", i)); !ok || err != nil {
			t.Errorf("write %d of %d was acknowledged and is lost: %v", i, written, err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	disk.Leave(0)
	if _, err := etcd.Start(t.Context(), c); err == nil {
		t.Error("it began on a disk that is full")
	} else {
		wantErr(t, err, "disk", "full", "make room")
	}
	disk.Clear()
	m = start(t, c)
	eventually(t, "writes go on", func() bool { return try(m.Store(), kv.Put("kept", []byte("3"))) == nil })
}

// A store that reached its quota because of what was overwritten packs itself and goes on; one that really holds
// that much stays full, and says so.
func TestTheQuotaIsReached(t *testing.T) {
	m := start(t, etcd.EmbedConfig{Quota: 16 << 20, Reserve: 1})
	s := m.Store()
	fill := func(key string) {
		t.Helper()
		for range 200 {
			switch err := try(s, kv.Put(key, make([]byte, kv.MaxValue))); {
			case errors.Is(err, kv.ErrNoSpace):
				return
			case err != nil:
				t.Fatal(err)
			}
		}
		t.Fatal("100 MiB fit into a quota of 16")
	}
	fill("a")
	eventually(t, "the old values make room", func() bool { return try(s, kv.Put("b", []byte("1"))) == nil })
	// It is packed when it is full, and may have some room again: full is what stays full.
	wrote := 0
	eventually(t, "the member says why", func() bool {
		err := try(s, kv.Put(fmt.Sprint("c", wrote), make([]byte, kv.MaxValue)))
		if wrote++; err != nil {
			wrote--
		}
		if err != nil && !errors.Is(err, kv.ErrNoSpace) || wrote > 200 {
			t.Fatalf("after %d values: %v", wrote, err)
		}
		return m.Full() != nil
	})
	wantErr(t, m.Full(), "quota", "16 MiB")
	if err := try(s, kv.DeletePrefix("c")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was deleted makes room", func() bool { return try(s, kv.Put("b", []byte("2"))) == nil })
}
