package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/api/term"
	"github.com/gozer-ci/gozer/internal/forge/local"
	"github.com/gozer-ci/gozer/internal/provider"
)

// Names of what the example has.
const (
	tenant  = "opendev"
	project = "opendev/system-config"
)

// Projects are the repositories of the example.
var Projects = []string{"opendev/project-config", project}

// Config is what the story needs of the process that it plays in.
type Config struct {
	// Data is where it keeps its own things: the fleet's key, a clone, how far it came.
	Data string
	// Server and Forge are where the process is reached; Admin is the forge's administrator token.
	Server, Forge, Admin string
	// Provider has a host for each name in Hosts, see Labels.
	Provider provider.Provider
	// Program is the path of gozer, for what people would call it for.
	Program string
	Out     io.Writer
	// Width of the terminal; 0 is not known.
	Width int
}

// teller plays the story once.
type teller struct {
	Config
	forge *local.Client
	api   *api.Client
	began time.Time
	// seen are builds that were told of; deployed is the buildset of the last one.
	seen     map[string]bool
	deployed string
	names    map[string]string // of buildsets: what they deploy
	left     map[string]bool   // buildsets of which all was told
	news     atomic.Int64      // when a job last ended, in milliseconds since 1970
}

// patience bounds for how long nothing may happen before the story says that it does not go on.
const patience = 4 * time.Minute

// Play plays the story: it returns when all was told, or where it could not go on. What an earlier,
// interrupted run left half done is done again from the change that it was at.
func Play(ctx context.Context, c Config) error {
	t := &teller{Config: c, began: time.Now(), seen: map[string]bool{}, names: map[string]string{}, left: map[string]bool{},
		forge: &local.Client{URL: c.Forge, User: "ada"}, api: api.New(api.ClientConfig{URL: c.Server})}
	if done, err := os.ReadFile(t.marker()); err == nil {
		t.say("The story was played here already (%s). A new one: gozer demo --fresh", strings.TrimSpace(string(done)))
		return t.fleet(ctx)
	}
	for _, chapter := range []func(context.Context) error{t.fleet, t.fill, t.broken, t.fixed, t.gate, t.deploy, t.race} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	t.say("\nThe story took %s.", time.Since(t.began).Round(time.Second))
	return os.WriteFile(t.marker(), []byte(time.Now().Format("2006-01-02 15:04")+"\n"), 0o600)
}

func (t *teller) marker() string { return filepath.Join(t.Data, "played") }
func (t *teller) clone() string  { return filepath.Join(t.Data, "system-config") }

func (t *teller) say(format string, args ...any) { fmt.Fprintf(t.Out, format+"\n", args...) }

func (t *teller) chapter(n int, title string) {
	t.say("\n%d. %s   (%s)", n, title, time.Since(t.began).Round(time.Second))
}

// fleet raises the hosts.
func (t *teller) fleet(ctx context.Context) error {
	began := time.Now()
	private, public, err := t.key()
	if err != nil {
		return err
	}
	if err := raise(ctx, t.Provider, private, public); err != nil {
		return err
	}
	t.say("%d hosts are up: %s   (%s)", len(Hosts), strings.Join(Hosts, ", "), time.Since(began).Round(100*time.Millisecond))
	return nil
}

// key is the fleet's key pair, kept so that hosts that were there before still let it in.
func (t *teller) key() (private []byte, public string, err error) {
	file := filepath.Join(t.Data, "fleet-key")
	private, err = os.ReadFile(file)
	pub, perr := os.ReadFile(file + ".pub")
	if err == nil && perr == nil {
		return private, strings.TrimSpace(string(pub)), nil
	}
	if private, public, err = newKey(); err != nil {
		return nil, "", err
	}
	err = errors.Join(os.MkdirAll(t.Data, 0o700), os.WriteFile(file, private, 0o600), os.WriteFile(file+".pub", []byte(public+"\n"), 0o600))
	return private, public, err
}

// broken pushes a change with a mistake in a playbook.
func (t *teller) broken(ctx context.Context) error {
	t.chapter(1, "A change with a broken playbook is pushed")
	n, err := t.push(ctx, "broken")
	if err != nil {
		return err
	}
	return t.checked(ctx, n, 1, "failed")
}

func (t *teller) fixed(ctx context.Context) error {
	t.chapter(2, "Its next patch set")
	n, err := t.push(ctx, "fixed")
	if err != nil {
		return err
	}
	return t.checked(ctx, n, 2, "succeeded")
}

// checked waits for check's word on a patch set and shows it.
func (t *teller) checked(ctx context.Context, number, patchset int, word string) error {
	c, err := t.report(ctx, number, patchset, "(check pipeline)")
	if err != nil {
		return err
	}
	t.quote(c.Text)
	if !strings.Contains(c.Text, "Build "+word) {
		return fmt.Errorf("check of change %d,%d was to have %s", number, patchset, word)
	}
	return nil
}

// report waits for a comment of Gozer on a patch set.
func (t *teller) report(ctx context.Context, number, patchset int, has string) (*local.Comment, error) {
	var found *local.Comment
	err := t.wait(ctx, fmt.Sprintf("a report on change %d,%d", number, patchset), func() (bool, error) {
		d, err := t.forge.Change(ctx, number)
		if err != nil {
			return false, err
		}
		for i, m := range d.Comments {
			if m.Patchset == patchset && m.User == "gozer" && strings.Contains(m.Text, has) {
				found = &d.Comments[i]
			}
		}
		return found != nil, nil
	})
	return found, err
}

// quote shows the lines of a report that tell something: jobs, and why one failed.
func (t *teller) quote(text string) {
	for l := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		l = strings.TrimSpace(l)
		if l == "Warning:" {
			return
		}
		if l != "" && !strings.HasPrefix(l, "http") {
			t.say("     | %s", shorten(l, max(t.Width, 100)-8))
		}
	}
}

// shorten leaves the addresses of job lines away, and what does not fit.
func shorten(l string, most int) string {
	if name, rest, ok := strings.Cut(l, " http"); ok {
		if _, result, ok := strings.Cut(rest, " : "); ok {
			l = name + ": " + result
		}
	}
	if r := []rune(l); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return l
}

// gate approves three changes at once and follows them.
func (t *teller) gate(ctx context.Context) error {
	t.chapter(3, "Three changes are proposed, and approved at once")
	var numbers []int
	for _, name := range []string{"a", "b", "c"} {
		n, err := t.push(ctx, name)
		if err != nil {
			return err
		}
		numbers = append(numbers, n)
	}
	for _, n := range numbers {
		if _, err := t.report(ctx, n, 1, "(check pipeline)"); err != nil {
			return err
		}
	}
	t.say("   each passed check, alone. Now the gate: each is tested on top of those ahead of it")
	for _, n := range numbers {
		if err := t.approve(ctx, n); err != nil {
			return err
		}
	}
	for _, n := range numbers {
		if _, err := t.report(ctx, n, 1, "(gate pipeline)"); err != nil {
			return err
		}
	}
	return t.landed(ctx, numbers)
}

// approve votes for a change, unless an earlier run of the story brought it to its end.
func (t *teller) approve(ctx context.Context, n int) error {
	d, err := t.forge.Change(ctx, n)
	if err != nil || d.Status != local.StatusNew {
		return err
	}
	t.say("   $ gozer change vote %d Approved 1", n)
	return t.forge.Review(ctx, n, local.Review{Votes: map[string]int{"Approved": 1}})
}

// landed shows what became of the three, and that what landed is what was tested.
func (t *teller) landed(ctx context.Context, numbers []int) error {
	for i, n := range numbers {
		var d *local.Detail
		err := t.wait(ctx, fmt.Sprintf("the end of change %d", n), func() (ok bool, err error) {
			d, err = t.forge.Change(ctx, n)
			return err == nil && (d.Status == local.StatusMerged || i == 1), err
		})
		if err != nil {
			return err
		}
		subject, _, _ := strings.Cut(d.Current.Message, "\n")
		if i != 1 {
			t.say("   merged   %d,%d %s, as the commit that was tested: %.12s", n, d.Patchset, subject, d.Landed)
			continue
		}
		t.say("   refused  %d,%d %s", n, d.Patchset, subject)
		c, err := t.report(ctx, n, 1, "(gate pipeline)")
		if err != nil {
			return err
		}
		t.quote(c.Text)
		if d.Status == local.StatusMerged || !strings.Contains(c.Text, "Build failed") {
			return fmt.Errorf("change %d was to fail in the gate, on top of change %d", n, numbers[0])
		}
	}
	return t.tested(ctx)
}

// deploy waits until the merges are deployed, and draws the first deployment.
func (t *teller) deploy(ctx context.Context) error {
	t.chapter(4, "The merge deploys the fleet")
	var sets []api.Buildset
	fctx, stop := context.WithCancel(ctx)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		_ = t.api.Follow(fctx, tenant, func(v *api.View) error { return t.look(fctx, v) })
	}()
	err := t.wait(ctx, "the deployments", func() (bool, error) {
		var err error
		sets, err = t.api.Buildsets(ctx, tenant, deployments)
		ended := 0
		for _, s := range sets {
			if s.Result != "" {
				ended++
			}
		}
		return ended >= 2, err
	})
	stop()
	<-followed
	if err != nil {
		return err
	}
	for _, set := range slices.Backward(sets) {
		if _, err := t.past(ctx, set.UUID); err != nil {
			return err
		}
	}
	first := &sets[len(sets)-1]
	var g *api.Graph
	err = t.wait(ctx, "what the deployment took", func() (bool, error) {
		g, err = t.api.Graph(ctx, tenant, first.UUID)
		return err == nil && !g.Live, err
	})
	if err != nil {
		return err
	}
	t.chapter(5, "What the deployment took")
	t.say("")
	if err := term.Buildset(t.Out, g, t.Width); err != nil {
		return err
	}
	t.say("\nThe same on the page: %st/%s/buildset/%s", t.Server, tenant, first.UUID)
	for _, s := range sets {
		if s.Result != "SUCCESS" {
			return fmt.Errorf("deployment %s ended with %s; its jobs' logs say why: %s", s.UUID, s.Result, t.Server)
		}
	}
	return t.dispatch(g)
}

// agreed is up to how much longer than its simulation a deployment may take and still be said to agree with it. On a
// machine that does other work besides it may be more: that is told, and is no failure of the story.
const agreed = 1.05

// dispatch lays a deployment beside its simulation, unless it was interrupted in its middle.
func (t *teller) dispatch(g *api.Graph) error {
	if slices.ContainsFunc(g.Jobs, func(j api.Job) bool { return j.Queued.Before(t.began) }) {
		t.say("It began in an earlier run of the story, and is not compared with its simulation.")
		return nil
	}
	a, err := term.Agreement(g, BastionSlots)
	if err != nil {
		return err
	}
	verdict := "agrees with"
	if a.Ratio > agreed {
		verdict = "is slower than"
	}
	t.say("The server's dispatch %s gozer deps simulate: %s", verdict, a)
	return nil
}

// look tells what ended of the deployments that are in the view, and of those that have just left it: it has states,
// not all that happened, so that an item whose last job ends may be gone at the next look.
func (t *teller) look(ctx context.Context, v *api.View) error {
	here := map[string]bool{}
	for _, it := range v.Items {
		if it.Pipeline == "deploy" && it.Buildset != "" {
			here[it.Buildset] = true
			t.names[it.Buildset] = deployed(it.Refs)
			t.ended(it.Buildset, it.Jobs)
		}
	}
	for set := range t.names {
		if !here[set] && !t.left[set] {
			done, err := t.past(ctx, set)
			t.left[set] = done && err == nil // else it is told at the next look, or at the end
		}
	}
	return nil
}

// past tells what the history has of a deployment; done: that is all of it.
func (t *teller) past(ctx context.Context, buildset string) (done bool, err error) {
	g, err := t.api.Graph(ctx, tenant, buildset)
	if err != nil || g.Live {
		return false, err
	}
	if t.names[buildset] == "" {
		t.names[buildset] = deployed(g.Refs)
	}
	t.ended(buildset, g.Jobs)
	return g.Result != "", nil
}

// ended prints each job of a deployment once when it has ended, below the name of what is deployed.
func (t *teller) ended(buildset string, jobs []api.Job) {
	for _, j := range jobs {
		if j.Result == "" || j.Build == "" || t.seen[j.Build] || j.Started.IsZero() {
			continue
		}
		t.seen[j.Build] = true
		t.news.Store(time.Now().UnixMilli())
		if t.deployed != buildset {
			t.deployed = buildset
			t.say("   %s", t.names[buildset])
		}
		mark := "✓"
		if j.Result != "SUCCESS" {
			mark = "✗"
		}
		t.say("     %s %-8s %-34s %s", mark, strings.ToLower(j.Result), j.Name, j.Ended.Sub(j.Started).Round(100*time.Millisecond))
		if j.Result != "SUCCESS" {
			t.say("       | %s", shorten(strings.ReplaceAll(j.Detail, "\n", " "), 2*max(t.Width, 100)))
		}
	}
}

// deployed names what a deployment carries out.
func deployed(refs []api.Ref) string {
	var names []string
	for _, r := range refs {
		id := r.ID
		if len(id) == 40 { // a commit
			id = id[:12]
		}
		names = append(names, id+" "+cmp.Or(r.Title, r.Project))
	}
	return strings.Join(names, ", ")
}

// wait asks again until the answer is yes; that it is not for long, while no job ends, is an error.
func (t *teller) wait(ctx context.Context, what string, ask func() (bool, error)) error {
	began := time.Now()
	for {
		ok, err := ask()
		if err == nil && ok {
			return nil
		}
		if time.Since(began) > patience && time.Since(time.UnixMilli(t.news.Load())) > patience {
			return errors.Join(fmt.Errorf("waited %s for %s", patience, what), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(150 * time.Millisecond):
		}
	}
}
