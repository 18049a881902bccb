package conformance

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/event"
	"github.com/gozer-ci/gozer/internal/forge"
	"github.com/gozer-ci/gozer/internal/forge/fake"
	"github.com/gozer-ci/gozer/internal/gatetest"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/reporter"
)

// host is where the forge is said to be.
const host = "review.example.com"

// world is one scenario while it runs.
type world struct {
	fixtures   string
	tenantFile string
	repos      *fake.Repositories
	gerrit     *fake.Forge
	sys        *gatetest.System
	mail       *mailbox
	numbers    map[string]int    // changes by id
	ids        map[string]string // ids by number
	log        *bytes.Buffer
	mu         sync.Mutex
	news       []func(context.Context) error // what happened since the last settle, not told yet
}

// later tells the system of something at the next settle: what people do between two of them is done
// before the first word of it arrives, however fast the system is.
func (w *world) later(tell func(context.Context) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.news = append(w.news, tell)
}

// settle tells the news in order, and waits until nothing can happen any more.
func (w *world) settle(ctx context.Context) error {
	w.mu.Lock()
	news := w.news
	w.news = nil
	w.mu.Unlock()
	for _, tell := range news {
		if err := tell(ctx); err != nil {
			return err
		}
	}
	return w.sys.Settle(ctx)
}

// connections of a file of connections.
type connections struct {
	http, github bool
	mail         string
	maxDeps      int
}

// connectionFiles are those that the format names.
var connectionFiles = map[string]connections{
	"zuul.conf":                               {mail: "smtp"},
	"zuul-sql-driver-mysql.conf":              {mail: "smtp"},
	"zuul-gerrit-web.conf":                    {mail: "smtp", http: true},
	"zuul-gerrit-github.conf":                 {mail: "smtp", http: true, github: true},
	"zuul-connections-gerrit-and-github.conf": {mail: "outgoing_smtp", http: true, github: true},
	"zuul-gerrit-max-deps.conf":               {mail: "smtp", http: true, maxDeps: 1},
}

// newWorld lays out the starting state in dir and starts the system on it. prepare is called before the
// first worker begins.
func newWorld(ctx context.Context, dir, fixtures string, s *Scenario, prepare func(*world) error) (*world, error) {
	w := &world{fixtures: fixtures, tenantFile: filepath.Join(dir, "main.yaml"), mail: &mailbox{},
		numbers: map[string]int{}, ids: map[string]string{}, log: &bytes.Buffer{}}
	file := s.system.Connections
	if file == "" {
		file = "zuul.conf"
	}
	conn, ok := connectionFiles[file]
	if !ok {
		return nil, fmt.Errorf("connections %q are not known", file)
	}
	driver := s.system.Driver
	if driver == "" {
		driver = "gerrit"
	}
	w.repos = fake.NewRepositories(filepath.Join(dir, "forge"))
	w.gerrit = fake.New(fake.Config{Name: driver, Host: host, Repositories: w.repos, User: "jenkins", Strict: conn.http, Shell: !conn.http, Mute: true,
		WholeTopic: s.system.SubmitWholeTopic, MaxDependencies: conn.maxDeps})
	forges := []forge.Forge{w.gerrit}
	if conn.github {
		forges = append(forges, fake.New(fake.Config{Name: "github", Driver: "github", Host: "github.com", Repositories: w.repos}))
	}
	var err error
	if s.system.Tenants != "" {
		err = w.layTenants(ctx, s.system.Tenants)
	} else {
		err = w.layLayout(ctx, s.system.Layout, driver)
	}
	if err != nil {
		return nil, err
	}
	var perr error
	w.sys, err = gatetest.Start(ctx, gatetest.Config{
		Dir: dir, TenantFile: w.tenantFile, Forges: forges, Drivers: map[string]string{conn.mail: "smtp"},
		Mailers: map[string]reporter.Mailer{conn.mail: w.mail}, WebRoot: "https://zuul.example.com/",
		Prepare: func(sys *gatetest.System) { w.sys = sys; perr = prepare(w) },
		Log:     slog.New(slog.NewTextHandler(&locked{w: w.log}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	if err != nil {
		w.repos.Close()
		return nil, err
	}
	w.gerrit.Deliver(func(_ context.Context, e event.Event) error {
		w.later(func(ctx context.Context) error { return w.sys.Deliver(ctx, e) })
		return nil
	})
	return w, perr
}

// close lets everything go that the scenario still holds, and stops the system.
func (w *world) close() error {
	for _, st := range []gatetest.Stage{gatetest.Requested, gatetest.Accepted, gatetest.Running} {
		w.sys.Builds.Unhold(st)
	}
	w.sys.Nodes.Hold(false)
	err := w.sys.Close()
	w.repos.Close()
	return err
}

// locked makes a writer safe for the many goroutines of a log.
type locked struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// variables are what ${...} can stand for.
var variables = regexp.MustCompile(`\$\{([^}]+)\}`)

// expand gives a copy of a node with the variables of its texts replaced.
func (w *world) expand(n *yaml.Node) (*yaml.Node, error) {
	if n == nil {
		return nil, nil
	}
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, x := range n.Content {
		var err error
		if c.Content[i], err = w.expand(x); err != nil {
			return nil, err
		}
	}
	if n.Kind != yaml.ScalarNode || !strings.Contains(n.Value, "${") {
		return &c, nil
	}
	var err error
	c.Value = variables.ReplaceAllStringFunc(n.Value, func(m string) string {
		v, verr := w.variable(m[2 : len(m)-1])
		if verr != nil && err == nil {
			err = verr
		}
		return v
	})
	return &c, err
}

func (w *world) variable(name string) (string, error) {
	if rest, ok := strings.CutPrefix(name, "head:"); ok {
		project, branch, _ := strings.Cut(rest, ":")
		if id := w.repos.Commit(project, "refs/heads/"+branch); id != "" {
			return id, nil
		}
		return "", fmt.Errorf("${%s}: there is no such branch", name)
	}
	id, what, _ := strings.Cut(name, ".")
	number, ps, err := w.patchset(id)
	if err != nil {
		return "", fmt.Errorf("${%s}: %w", name, err)
	}
	c, err := w.gerrit.Look(number)
	if err != nil {
		return "", err
	}
	switch what {
	case "url":
		return w.gerrit.BaseURL() + "/" + strconv.Itoa(number), nil
	case "baseurl":
		return w.gerrit.BaseURL(), nil
	case "id":
		return c.ID(), nil
	case "revision":
		return c.Patchsets[ps-1].Commit, nil
	}
	return "", fmt.Errorf("${%s}: a change has no %q", name, what)
}

// patchset finds what A or A/2 names: the change's number, and the patch set, the current one where none is
// given.
func (w *world) patchset(id string) (number, ps int, err error) {
	name, want, given := strings.Cut(id, "/")
	number, ok := w.numbers[name]
	if !ok {
		return 0, 0, fmt.Errorf("there is no change %q", name)
	}
	c, err := w.gerrit.Look(number)
	if err != nil {
		return 0, 0, err
	}
	ps = len(c.Patchsets)
	if given {
		if ps, err = strconv.Atoi(want); err != nil || ps < 1 || ps > len(c.Patchsets) {
			return 0, 0, fmt.Errorf("change %s has no patch set %s", name, want)
		}
	}
	return number, ps, nil
}

// name is A/2 for a change as the system knows it.
func (w *world) name(c *change.Change) string {
	id, ok := w.ids[c.Number]
	if !ok {
		id = "change " + c.Number
	}
	return id + "/" + c.Patchset
}

// fixture reads a file of the fixtures; encrypted secrets in it are encrypted to the scenario's key.
func (w *world) fixture(path string) (string, error) {
	b, err := os.ReadFile(filepath.Join(w.fixtures, filepath.FromSlash(path)))
	if err != nil {
		return "", err
	}
	return reencrypt(w.fixtures, string(b))
}

// mailbox records mails.
type mailbox struct {
	mu    sync.Mutex
	mails []mail
}

type mail struct {
	from, body string
	to         []string
}

// Mail takes what a mail reporter has to say.
func (m *mailbox) Mail(_ context.Context, _ *pipeline.Report, rep pipeline.Reporter, _ []*change.Change, text string) error {
	x := mail{from: "zuul@example.com", to: []string{"you@example.com"}, body: text}
	if v, ok := rep.Options["from"].(string); ok && v != "" {
		x.from = v
	}
	if v, ok := rep.Options["to"].(string); ok && v != "" {
		x.to = strings.Split(v, ",")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mails = append(m.mails, x)
	return nil
}

func (m *mailbox) all() []mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]mail(nil), m.mails...)
}
