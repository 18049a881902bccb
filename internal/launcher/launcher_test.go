package launcher_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/memkv"
	"github.com/gozer-ci/gozer/internal/launcher"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/provider"
	"github.com/gozer-ci/gozer/internal/provider/fake"
	"github.com/gozer-ci/gozer/internal/provider/knock"
	"github.com/gozer-ci/gozer/internal/provider/sandbox"
	"github.com/gozer-ci/gozer/internal/store"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sandbox-node" {
		os.Exit(sandbox.NodeMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// bench is a store with launchers on it.
type bench struct {
	*testing.T
	st    *store.Store
	nodes *store.Collection[node.Node]
	// full: the store takes nothing that needs room.
	full atomic.Bool
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t}
	m := memkv.New(memkv.Config{Fault: func(txn kv.Txn) memkv.Fault {
		if b.full.Load() && slices.ContainsFunc(txn.Then, func(o kv.Op) bool { return o.Kind == kv.OpPut }) {
			return memkv.Fault{Before: kv.ErrNoSpace}
		}
		return memkv.Fault{}
	}})
	t.Cleanup(func() { _ = m.Close() })
	var err error
	if b.st, err = store.Open(t.Context(), store.Config{KV: m}); err != nil {
		t.Fatal(err)
	}
	b.nodes = store.Records[node.Node](b.st, node.Records)
	return b
}

// launch runs a launcher; the function it gives back kills it, and waits for its end.
func (b *bench) launch(id string, reach func(context.Context, node.Access, gossh.Signer) error, ps ...provider.Provider) (stop func()) {
	b.Helper()
	return b.launchWith(id, func(c *launcher.Config) { c.Reach = reach }, ps...)
}

func (b *bench) launchWith(id string, more func(*launcher.Config), ps ...provider.Provider) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	ses, err := kv.NewSession(ctx, kv.SessionConfig{Store: b.st.KV(), TTL: 10 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{}, 2)
	go func() { _ = ses.Run(ctx); ended <- struct{}{} }()
	c := launcher.Config{Store: b.st, Session: ses, ID: id, Providers: ps, Reach: answers, BootTimeout: time.Minute}
	more(&c)
	l := launcher.New(c)
	go func() {
		if err := l.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			b.Errorf("launcher %s: %v", id, err)
		}
		ended <- struct{}{}
	}()
	stop = func() {
		cancel()
		<-ended
		<-ended
		ended <- struct{}{}
		ended <- struct{}{}
	}
	b.Cleanup(stop)
	return stop
}

// answers is a Reach for nodes that answer at once.
func answers(context.Context, node.Access, gossh.Signer) error { return nil }

func (b *bench) request(kind, id string, body any) {
	b.Helper()
	op, err := b.st.RequestOp(b.Context(), store.Request{Kind: kind, ID: id, Tenant: "t", Pipeline: "gate", Made: time.Now()}, body)
	if err == nil {
		_, err = b.st.Write(b.Context(), store.Fence{}, op)
	}
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) want(id string, labels ...string) {
	b.Helper()
	body := pipeline.RequestNodes{Item: "i", Buildset: "b", Job: "j", Request: id}
	for _, l := range labels {
		body.Nodeset.Nodes = append(body.Nodeset.Nodes, job.Node{Label: l})
	}
	b.request(store.KindNodes, id, body)
}

// outcome is what the pipeline was told about a request.
func (b *bench) outcome(id string) *pipeline.NodesReady {
	b.Helper()
	r, err := b.st.KV().Range(b.Context(), kv.Query{Prefix: store.InboxPrefix("t", "gate")})
	if err != nil {
		b.Fatal(err)
	}
	var found *pipeline.NodesReady
	for _, e := range r.KVs {
		in, err := b.st.Input(b.Context(), e)
		if err != nil {
			b.Fatal(err)
		}
		if n, ok := in.(*pipeline.NodesReady); ok && n.Request == id {
			if found != nil {
				b.Errorf("request %s was answered twice", id)
			}
			found = n
		}
	}
	return found
}

// got is the outcome of a request that must have nodes by now.
func (b *bench) got(id string) []string {
	b.Helper()
	o := b.outcome(id)
	if o == nil || o.Failed {
		b.Fatalf("request %s: %+v", id, o)
	}
	return o.Nodes
}

func (b *bench) set(id string, change func(*node.Node)) {
	b.Helper()
	err := b.nodes.Change(b.Context(), id, func(n *node.Node, exists bool) (bool, error) {
		if !exists {
			return false, fmt.Errorf("there is no node %s", id)
		}
		change(n)
		return true, nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// states lists label and state of all nodes.
func (b *bench) states() []string {
	b.Helper()
	all, err := b.nodes.List(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	out := []string{}
	for _, r := range all {
		s := fmt.Sprintf("%s %s", r.Value.Label, r.Value.State)
		if r.Value.Request != "" {
			s += " " + r.Value.Request
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func (b *bench) wantStates(want ...string) {
	b.Helper()
	if got := b.states(); !slices.Equal(got, append([]string{}, want...)) {
		b.Errorf("nodes are %q, want %q", got, want)
	}
}

func instances(t *testing.T, p provider.Provider) int {
	t.Helper()
	all, err := p.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// play runs a story in a bubble of time.
func play(t *testing.T, story func(b *bench)) {
	synctest.Test(t, func(t *testing.T) { story(newBench(t)) })
}

func small() *fake.Provider { return fake.New("local", node.Label{Name: "small", Max: 5}) }

func TestLife(t *testing.T) {
	play(t, func(b *bench) {
		p := small()
		p.BootTakes(30 * time.Second)
		b.launch("one", answers, p)
		b.want("r1", "small", "small")
		time.Sleep(10 * time.Second)
		b.wantStates("small testing r1", "small testing r1")
		time.Sleep(30 * time.Second)
		ids := b.got("r1")
		if len(ids) != 2 || ids[0] == ids[1] {
			t.Fatalf("nodes %v", ids)
		}
		r, err := b.nodes.Get(t.Context(), ids[0])
		if err != nil || r.Value.Host == "" || len(r.Value.HostKeys) == 0 || r.Value.Tenant != "t" {
			t.Errorf("the record of a node is %+v, %v", r.Value, err)
		}
		b.set(ids[0], func(n *node.Node) { n.State = node.InUse })
		b.set(ids[0], func(n *node.Node) { n.State = node.Used })
		b.set(ids[1], func(n *node.Node) {
			n.State, n.HoldUntil = node.Hold, time.Now().Add(time.Hour)
		})
		time.Sleep(time.Minute)
		b.wantStates("small hold r1")
		time.Sleep(time.Hour)
		b.wantStates()
		if n := instances(t, p); n != 0 {
			t.Errorf("%d instances are left", n)
		}
	})
}

// A store that is full for longer than any other patience lasts: the launcher waits, makes nothing twice, and answers
// when there is room.
func TestTheStoreIsFull(t *testing.T) {
	play(t, func(b *bench) {
		p := small()
		p.BootTakes(30 * time.Second)
		b.launch("one", answers, p)
		b.want("r1", "small")
		time.Sleep(time.Second)
		b.full.Store(true)
		time.Sleep(time.Hour)
		if out := b.outcome("r1"); out != nil {
			t.Errorf("a store that is full took %+v", out)
		}
		b.full.Store(false)
		time.Sleep(time.Minute)
		if ids := b.got("r1"); len(ids) != 1 || instances(t, p) != 1 {
			t.Errorf("nodes %v, and %d instances", ids, instances(t, p))
		}
	})
}

func TestReturn(t *testing.T) {
	play(t, func(b *bench) {
		p := small()
		b.launch("one", answers, p)
		// Fulfilled, and not used.
		b.want("r1", "small")
		time.Sleep(time.Second)
		first := b.got("r1")
		b.request(store.KindReturn, "r1", pipeline.ReturnNodes{Request: "r1", Nodes: first})
		time.Sleep(time.Second)
		b.wantStates("small ready")
		// Outstanding.
		p.BootTakes(30 * time.Second)
		b.want("r2", "small", "small")
		time.Sleep(time.Second)
		b.wantStates("small ready r2", "small testing r2")
		b.request(store.KindReturn, "r2", pipeline.ReturnNodes{Request: "r2"})
		time.Sleep(time.Minute)
		b.wantStates("small ready", "small ready")
		if o := b.outcome("r2"); o != nil {
			t.Errorf("a request that was given up is answered: %+v", o)
		}
		for _, prefix := range []string{"/request/", "/signal/", "/claim/nodes/", "/claim/return/"} {
			if r, err := b.st.KV().Range(t.Context(), kv.Query{Prefix: prefix}); err != nil || len(r.KVs) > 0 {
				t.Errorf("left below %s: %v, %v", prefix, r, err)
			}
		}
		// What came back is handed out again.
		b.want("r3", "small")
		time.Sleep(time.Second)
		b.got("r3")
		if p.Made() != 2 {
			t.Errorf("%d instances were made, want 2", p.Made())
		}
	})
}

func TestAnotherLauncherGoesOn(t *testing.T) {
	play(t, func(b *bench) {
		p := small()
		p.BootTakes(20 * time.Second)
		stop := b.launch("one", answers, p)
		b.want("r1", "small", "small")
		time.Sleep(5 * time.Second)
		b.wantStates("small testing r1", "small testing r1")
		stop()
		b.launch("two", answers, p)
		time.Sleep(30 * time.Second)
		b.got("r1")
		b.wantStates("small ready r1", "small ready r1")
		if p.Made() != 2 {
			t.Errorf("%d instances were made, want 2", p.Made())
		}
	})
}

func TestLeaksAndLosses(t *testing.T) {
	play(t, func(b *bench) {
		p := small()
		b.launch("one", answers, p)
		b.want("r1", "small", "small")
		time.Sleep(time.Second)
		ids := b.got("r1")
		p.Leak("leaked", "small")
		p.Vanish(ids[0])
		time.Sleep(time.Minute)
		b.wantStates("small ready r1")
		if n := instances(t, p); n != 1 {
			t.Errorf("%d instances, want 1", n)
		}
		// The executor of a build vanished with it.
		b.set(ids[1], func(n *node.Node) { n.State, n.Build = node.InUse, "build" })
		b.request(store.KindBuild, "build", pipeline.Start{})
		time.Sleep(2 * time.Minute)
		b.wantStates("small in-use r1")
		if _, err := b.st.Write(t.Context(), store.Fence{}, kv.Delete(store.RequestPrefix(store.KindBuild)+"build")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		b.wantStates()
	})
}

func TestNobodyCan(t *testing.T) {
	play(t, func(b *bench) {
		b.launch("one", answers, small())
		b.want("r1", "huge")
		time.Sleep(5 * time.Second)
		if o := b.outcome("r1"); o != nil {
			t.Errorf("refused at once: %+v", o)
		}
		time.Sleep(10 * time.Second)
		if o := b.outcome("r1"); o == nil || !o.Failed || o.Why != "no provider has label huge; there are small" {
			t.Errorf("the outcome is %+v", o)
		}
	})
}

func TestTroubleMovesOn(t *testing.T) {
	play(t, func(b *bench) {
		bad, good := fake.New("bad", node.Label{Name: "small"}), fake.New("good", node.Label{Name: "small"})
		trouble := errors.New("the cloud is down")
		bad.FailNext(trouble, trouble, trouble)
		b.launch("one", answers, bad, good)
		b.want("r1", "small")
		time.Sleep(time.Minute)
		if o := b.outcome("r1"); o == nil || o.Provider != "good" {
			t.Errorf("the outcome is %+v", o)
		}
		bad.FailNext(trouble, trouble, trouble)
		good.FailNext(trouble, trouble, trouble)
		b.want("r2", "small")
		time.Sleep(5 * time.Minute)
		if o := b.outcome("r2"); o == nil || !o.Failed || o.Why == "" {
			t.Errorf("the outcome is %+v", o)
		}
	})
}

func TestNodeThatNeverAnswers(t *testing.T) {
	play(t, func(b *bench) {
		p := small()
		silent := func(context.Context, node.Access, gossh.Signer) error { return errors.New("connection refused") }
		b.launch("one", silent, p)
		b.want("r1", "small")
		time.Sleep(10 * time.Minute)
		o := b.outcome("r1")
		if o == nil || !o.Failed || o.Why != "provider local: it does not answer after 1m0s: connection refused" {
			t.Errorf("the outcome is %+v", o)
		}
		b.wantStates()
		if n := instances(t, p); n != 0 || p.Made() != 3 {
			t.Errorf("%d instances are left of %d, want none of 3", n, p.Made())
		}
	})
}

func TestNodeThatAnswersLate(t *testing.T) {
	play(t, func(b *bench) {
		began := time.Now()
		late := func(context.Context, node.Access, gossh.Signer) error {
			if time.Since(began) < 50*time.Second {
				return errors.New("connection refused")
			}
			return nil
		}
		p := small()
		b.launch("one", late, p)
		b.want("r1", "small")
		time.Sleep(40 * time.Second)
		b.wantStates("small testing r1")
		time.Sleep(15 * time.Second)
		b.got("r1")
		if p.Made() != 1 {
			t.Errorf("%d instances were made, want 1", p.Made())
		}
	})
}

// Somebody else answers at the node's address: nobody waits for that to change, and nobody logs in.
func TestNodeWithAnotherHostKey(t *testing.T) {
	play(t, func(b *bench) {
		wrong := func(context.Context, node.Access, gossh.Signer) error {
			return fmt.Errorf("192.0.2.2:22: %w: it shows ssh-ed25519 SHA256:x", knock.ErrHostKey)
		}
		p := small()
		b.launch("one", wrong, p)
		b.want("r1", "small")
		time.Sleep(10 * time.Second)
		o := b.outcome("r1")
		if o == nil || !o.Failed || o.Why != "provider local: 192.0.2.2:22: the host key is another one: it shows ssh-ed25519 SHA256:x" {
			t.Errorf("the outcome is %+v", o)
		}
		if n := instances(t, p); n != 0 {
			t.Errorf("%d instances are left", n)
		}
	})
}

func TestNodeVanishesWhileItIsLookedAt(t *testing.T) {
	play(t, func(b *bench) {
		p := small()
		p.BootTakes(30 * time.Second)
		b.launch("one", answers, p)
		b.want("r1", "small")
		time.Sleep(10 * time.Second)
		all, err := p.List(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		p.Vanish(all[0].ID)
		time.Sleep(time.Minute)
		b.got("r1")
		if p.Made() != 2 {
			t.Errorf("%d instances were made, want 2", p.Made())
		}
	})
}

func TestTwoLaunchers(t *testing.T) {
	play(t, func(b *bench) {
		east, west := fake.New("east", node.Label{Name: "small"}), fake.New("west", node.Label{Name: "large"})
		b.launch("one", answers, east)
		b.launch("two", answers, west)
		for n := range 10 {
			b.want(fmt.Sprintf("s%d", n), "small")
			b.want(fmt.Sprintf("l%d", n), "large")
		}
		time.Sleep(time.Minute)
		for n := range 10 {
			b.got(fmt.Sprintf("s%d", n))
			b.got(fmt.Sprintf("l%d", n))
		}
		// Given back by whoever takes the return.
		for n := range 10 {
			b.request(store.KindReturn, fmt.Sprintf("l%d", n), pipeline.ReturnNodes{Request: fmt.Sprintf("l%d", n)})
		}
		time.Sleep(time.Minute)
		for _, s := range b.states() {
			if s != "large ready" && s[:len("small ready s")] != "small ready s" {
				t.Errorf("a node is %q", s)
			}
		}
	})
}

// A real node: made, looked at over SSH, handed out, deleted.
func TestSandbox(t *testing.T) {
	p, err := sandbox.Open(t.Context(), sandbox.Config{Name: "local", Folder: t.TempDir(), Labels: []sandbox.Label{{Name: "small"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	b := newBench(t)
	b.launch("one", nil, p)
	b.want("r1", "small", "small")
	wait := func(what string, done func() bool) {
		t.Helper()
		for range 6000 {
			if done() {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("%s: nodes are %q", what, b.states())
	}
	wait("no nodes", func() bool { return b.outcome("r1") != nil })
	for _, id := range b.got("r1") {
		b.set(id, func(n *node.Node) { n.State = node.Used })
	}
	wait("nodes are left", func() bool { return len(b.states()) == 0 })
	if n := instances(t, p); n != 0 {
		t.Errorf("%d instances are left", n)
	}
}
