package simulate

import (
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds   = flag.Uint64("seeds", 300, "how many seeds to play")
	first   = flag.Uint64("first", 1, "the first of them")
	seed    = flag.Uint64("seed", 0, "play this one alone, and tell what happens")
	sweep   = flag.Int("sweep", 101, "of how many transactions one is crashed at")
	actions = flag.Int("actions", 0, "how much happens in a run (0: as usual)")
)

// Whatever goes wrong, what must hold holds.
func TestSimulation(t *testing.T) {
	if *seed != 0 {
		res, err := Run(t.Context(), Config{Seed: *seed, Actions: *actions, Trace: func(s string) { fmt.Println(s) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("seed %d holds: %d transactions, %d builds, %d landed, faults %v", *seed, res.Writes, res.Builds, res.Landed, res.Faults)
		return
	}
	began := time.Now()
	var next atomic.Uint64
	next.Store(*first)
	var mu sync.Mutex
	sum := Result{Faults: map[string]int{}}
	failed := 0
	var g sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() {
			for {
				s := next.Add(1) - 1
				if s >= *first+*seeds {
					return
				}
				res, err := Run(t.Context(), Config{Seed: s, Actions: *actions})
				mu.Lock()
				sum.Writes += res.Writes
				sum.Builds += res.Builds
				sum.Landed += res.Landed
				for k, n := range res.Faults {
					sum.Faults[k] += n
				}
				if err != nil {
					if failed++; failed <= 10 {
						t.Error(err)
					}
				}
				mu.Unlock()
			}
		})
	}
	g.Wait()
	t.Logf("%d seeds, %d of them broken, in %v: %d transactions, %d builds begun, %d changes landed; faults: %v",
		*seeds, failed, time.Since(began).Round(time.Millisecond), sum.Writes, sum.Builds, sum.Landed, sum.Faults)
}

// The same seed gives the same run, so that a failure can be played again.
func TestASeedIsReplayable(t *testing.T) {
	for s := uint64(1); s <= 20; s++ {
		a, aerr := Run(t.Context(), Config{Seed: s})
		b, berr := Run(t.Context(), Config{Seed: s})
		if a.Hash != b.Hash || a.Writes != b.Writes || (aerr == nil) != (berr == nil) {
			t.Errorf("seed %d: %d transactions and hash %x, then %d and %x", s, a.Writes, a.Hash, b.Writes, b.Hash)
		}
	}
}

// A long story is played once undisturbed, and then again and again with a process killed before and after
// each of its transactions. It comes to the same end, whenever the process died.
func TestCrashSweep(t *testing.T) {
	story := Config{Seed: 7, Calm: true, Story: true}
	calm, err := Run(t.Context(), story)
	if err != nil {
		t.Fatal(err)
	}
	crashes := 0
	for at := 1; at <= calm.Writes; at += *sweep {
		for _, sign := range []int{1, -1} {
			c := story
			c.CrashAt = sign * at
			got, err := Run(t.Context(), c)
			if err != nil {
				t.Fatalf("killed at transaction %d: %v", c.CrashAt, err)
			}
			if got.End != calm.End {
				t.Fatalf("killed at transaction %d, it ends otherwise:\n%s\nnot\n%s", c.CrashAt, got.End, calm.End)
			}
			crashes++
		}
	}
	t.Logf("%d crashes in a story of %d transactions, %d builds and %d merges: the same end each time", crashes, calm.Writes, calm.Builds, calm.Landed)
}
