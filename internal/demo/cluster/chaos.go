package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Chaos is a time in which everything goes wrong: processes are killed, paused and restarted while people
// propose and approve changes.
type Chaos struct {
	*Cluster
	// For is how long things go wrong; Seed decides what.
	For  time.Duration
	Seed uint64

	mu     sync.Mutex
	rng    *rand.Rand
	faults map[string]int
	down   map[*Proc]bool
}

// Run works on the cluster until the time is over, heals everything, waits until all that was begun has come
// to its end, and looks at what is left. The error is for what kept it from looking.
func (c *Chaos) Run(ctx context.Context) (*Verdict, error) {
	c.rng, c.faults, c.down = rand.New(rand.NewPCG(c.Seed, 1)), map[string]int{}, map[*Proc]bool{}
	load := &load{c: c.Cluster, broken: map[int]bool{}, unsure: map[int]bool{}}
	for _, p := range Projects {
		if err := load.clone(ctx, p); err != nil {
			return nil, err
		}
	}
	defer load.close()
	tctx, cancel := context.WithTimeout(ctx, c.For)
	defer cancel()
	g, gctx := errgroup.WithContext(tctx)
	for _, p := range Projects {
		g.Go(func() error { return load.run(gctx, p) })
	}
	g.Go(func() error { return c.harm(gctx) })
	g.Go(func() error { return c.tell(gctx, load) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	c.Say("it is over: %d faults; everything is started again", c.total())
	for _, p := range c.Procs {
		if err := c.heal(ctx, p); err != nil {
			return nil, err
		}
	}
	v := &Verdict{Faults: c.faults}
	return v, v.look(ctx, c.Cluster, load)
}

func (c *Chaos) tell(ctx context.Context, l *load) error {
	t := time.NewTicker(5 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			c.Say("%d faults, %d changes approved", c.total(), len(l.all()))
		}
	}
}

func (c *Chaos) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, f := range c.faults {
		n += f
	}
	return n
}

// harm lets one thing after the other go wrong, several at a time but never two members of etcd.
func (c *Chaos) harm(ctx context.Context) error {
	var g sync.WaitGroup
	defer g.Wait()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(c.between(300*time.Millisecond, 2*time.Second)):
		}
		if p := c.victim(); p != nil {
			g.Go(func() { c.hurt(ctx, p) })
		}
	}
}

func (c *Chaos) between(a, b time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return a + time.Duration(c.rng.Int64N(int64(b-a)))
}

// victim chooses a process that is well; webs stay, for people are to see what happens.
func (c *Chaos) victim() *Proc {
	c.mu.Lock()
	defer c.mu.Unlock()
	stores := 0
	for p := range c.down {
		if p.Role == "store" {
			stores++
		}
	}
	var can []*Proc
	for _, p := range c.Procs {
		if !c.down[p] && p.Role != "web" && (p.Role != "store" || stores == 0) {
			can = append(can, p)
		}
	}
	if len(can) == 0 || len(c.down) > 3 {
		return nil
	}
	p := can[c.rng.IntN(len(can))]
	c.down[p] = true
	return p
}

// hurt does one harm to a process, and undoes it after a while.
func (c *Chaos) hurt(ctx context.Context, p *Proc) {
	defer func() {
		c.mu.Lock()
		delete(c.down, p)
		c.mu.Unlock()
	}()
	c.mu.Lock()
	what := []string{"killed", "killed", "paused", "restarted"}[c.rng.IntN(4)]
	c.faults[p.Role+" "+what]++
	c.mu.Unlock()
	pause := func(d time.Duration) {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	switch what {
	case "killed":
		_ = p.Signal(syscall.SIGKILL)
		p.Wait(10 * time.Second)
		pause(c.between(200*time.Millisecond, 3*time.Second))
	case "paused": // now and then for longer than the lease
		_ = p.Signal(syscall.SIGSTOP)
		pause(c.between(c.Lease/4, 2*c.Lease))
		_ = p.Signal(syscall.SIGCONT)
		return
	case "restarted":
		_ = p.Signal(syscall.SIGTERM)
		if !p.Wait(20 * time.Second) {
			_ = p.Signal(syscall.SIGKILL)
			p.Wait(10 * time.Second)
		}
	}
	if err := p.Start(); err != nil {
		c.Say("%s: %v", p.Name, err)
	}
	pause(time.Second)
}

// heal makes sure that a process runs and is ready.
func (c *Chaos) heal(ctx context.Context, p *Proc) error {
	_ = p.Signal(syscall.SIGCONT)
	for range 5 {
		if !p.Alive() {
			if err := p.Start(); err != nil {
				return err
			}
		}
		err := p.waitReady(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		c.Say("%v", err)
	}
	return fmt.Errorf("%s does not come up again", p.Name)
}

// Verdict is what chaos came to.
type Verdict struct {
	Faults map[string]int
	// Approved changes, and what became of them.
	Approved, Landed, Refused int
	// Builds that ran, and of those the attempts that were repeated.
	Builds, Repeated int
	// Lost, Doubled and Wrong say what must not be: changes of which nothing became, jobs of a buildset with
	// two results, commits that landed and were not tested, what is left over.
	Lost, Doubled, Wrong []string
}

// Good tells whether everything held.
func (v *Verdict) Good() bool { return len(v.Lost)+len(v.Doubled)+len(v.Wrong) == 0 }

// String is the verdict as a table.
func (v *Verdict) String() string {
	var b strings.Builder
	total := 0
	for _, n := range v.Faults {
		total += n
	}
	row := func(name string, n int, remark string) {
		fmt.Fprintf(&b, "%-22s %d%s\n", name, n, remark)
	}
	row("faults injected", total, "")
	for _, k := range slices.Sorted(maps.Keys(v.Faults)) {
		row("  "+k, v.Faults[k], "")
	}
	row("changes approved", v.Approved, "")
	row("  landed", v.Landed, "")
	row("  refused", v.Refused, " (they are broken)")
	row("builds run", v.Builds, "")
	row("  of them again", v.Repeated, " (their executor was gone)")
	row("lost", len(v.Lost), "")
	row("doubled", len(v.Doubled), "")
	row("wrong", len(v.Wrong), "")
	for _, list := range [][]string{v.Lost, v.Doubled, v.Wrong} {
		for _, s := range list {
			fmt.Fprintf(&b, "  %s\n", s)
		}
	}
	return b.String()
}
