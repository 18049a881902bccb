package launcher_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/launcher"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/provider/fake"
	"github.com/gozer-ci/gozer/internal/store"
)

// kernel is a machine that can be in FIPS mode after a restart.
type kernel struct {
	enabled, fips bool
	boots         int
	down          time.Time
	// broken: the restart changes nothing.
	broken bool
}

var errNo = errors.New("exit status 1")

func (k *kernel) run(_ context.Context, _ node.Access, _ gossh.Signer, command string) (string, error) {
	if time.Now().Before(k.down) {
		return "", errors.New("connection refused")
	}
	switch {
	case strings.Contains(command, "boot_id"):
		return strings.Repeat("x", k.boots+1), nil
	case command == "verify":
		if !k.fips {
			return "looked\nfips_enabled is 0", errNo
		}
	case command == "apply":
		k.enabled = true
	case command == "reboot":
		k.fips = k.enabled && !k.broken
		k.boots++
		k.down = time.Now().Add(30 * time.Second)
		return "", &gossh.ExitMissingError{}
	}
	return "", nil
}

func fipsOnly(k *kernel) func(*launcher.Config) {
	return func(c *launcher.Config) {
		c.Command = k.run
		c.Features = map[string]launcher.Feature{"fips": {Verify: "verify", Apply: "apply", Reboot: "reboot"}}
	}
}

func TestFeatureIsBroughtAboutBeforeTheNodeIsHandedOut(t *testing.T) {
	play(t, func(b *bench) {
		p := fake.New("local", node.Label{Name: "secure", Max: 5, Features: []string{"fips"}})
		p.Bare()
		k := &kernel{}
		b.launchWith("one", fipsOnly(k), p)
		b.want("r1", "secure")
		time.Sleep(10 * time.Second)
		b.wantStates("secure testing r1")
		time.Sleep(time.Minute)
		r, err := b.nodes.Get(t.Context(), b.got("r1")[0])
		if err != nil || len(r.Value.Features) != 1 || r.Value.Features[0] != "fips" || k.boots != 1 {
			t.Errorf("after %d restarts the node is %+v, %v", k.boots, r.Value, err)
		}
	})
}

func TestFeatureThatDoesNotComeIsTold(t *testing.T) {
	play(t, func(b *bench) {
		p := fake.New("local", node.Label{Name: "secure", Max: 5, Features: []string{"fips"}})
		p.Bare()
		b.launchWith("one", fipsOnly(&kernel{broken: true}), p)
		b.want("r1", "secure")
		time.Sleep(5 * time.Minute)
		o := b.outcome("r1")
		if o == nil || !o.Failed || o.Why != "provider local: feature fips is not in force on the node: fips_enabled is 0 (exit status 1)" {
			t.Errorf("the outcome is %+v", o)
		}
		if n := instances(t, p); n != 0 {
			t.Errorf("%d instances are left", n)
		}
	})
}

func TestUsedUpHoldIsForgottenWhenItsNodesAreGone(t *testing.T) {
	play(t, func(b *bench) {
		holds := store.Records[node.HoldRequest](b.st, node.HoldRecords)
		h := node.HoldRequest{ID: "h1", Tenant: "t", Max: 1, Count: 1, Expired: time.Now().Add(30*time.Second - 24*time.Hour)}
		if _, err := holds.Put(t.Context(), h.ID, h, 0); err != nil {
			t.Fatal(err)
		}
		b.launch("one", answers, fake.New("local", node.Label{Name: "small", Max: 5}))
		b.want("r1", "small")
		time.Sleep(time.Second)
		id := b.got("r1")[0]
		b.set(id, func(n *node.Node) { n.State, n.HoldID = node.Hold, "h1" })
		time.Sleep(5 * time.Minute)
		if _, err := holds.Get(t.Context(), "h1"); err != nil {
			t.Errorf("forgotten while a node is held for it: %v", err)
		}
		b.set(id, func(n *node.Node) { n.State = node.Used })
		time.Sleep(2 * time.Minute)
		if _, err := holds.Get(t.Context(), "h1"); err == nil {
			t.Error("it is not forgotten")
		}
	})
}
