package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/checkout"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/config/gen"
	"github.com/gozer-ci/gozer/internal/layout"
)

func configBench() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure loading, changing and freezing a big tenant", Args: cobra.NoArgs, Hidden: true,
		Long: `Generates a tenant (see generate) and prints how long it takes to load it, to make the layout of a change to one
file, and to freeze a graph of 40 jobs on five levels of inheritance, with the conditions.`,
	}
	size := sizeFlags(cmd)
	rounds := cmd.Flags().Int("rounds", 5, "how often each is done; the best is told")
	withGit := cmd.Flags().Bool("git", false, "load the tenant from bare repositories, too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkSize(size); err != nil {
			return err
		}
		b, err := newBench(*size, max(*rounds, 1))
		if err != nil {
			return err
		}
		if err := b.run(); err != nil {
			return err
		}
		if *withGit {
			if err := b.git(cmd); err != nil {
				return err
			}
		}
		return b.print(cmd.OutOrStdout())
	}
	return cmd
}

// bench is one run of measurements.
type bench struct {
	size   gen.Size
	rounds int
	files  []gen.File
	tenant *config.Tenant
	rows   [][4]string
}

var benchConnections = config.Options{Connections: map[string]string{"gerrit": "gerrit"}}

func newBench(size gen.Size, rounds int) (*bench, error) {
	b := &bench{size: size, rounds: rounds}
	if err := size.Write(func(f gen.File) error { b.files = append(b.files, f); return nil }); err != nil {
		return nil, err
	}
	tf := config.ParseTenants(b.files[0].Path, b.files[0].Data, benchConnections)
	if len(tf.Problems) > 0 {
		return nil, fmt.Errorf("the generated tenant file: %s", tf.Problems[0].Text)
	}
	b.files, b.tenant = b.files[1:], tf.Tenants[0]
	return b, nil
}

// best tells the shortest time that fn took.
func (b *bench) best(what, aim string, fn func() error) error {
	var best, least time.Duration
	for range b.rounds {
		start, before := time.Now(), used()
		if err := fn(); err != nil {
			return err
		}
		took, cpu := time.Since(start), used()-before
		if best == 0 || took < best {
			best = took
		}
		if least == 0 || cpu < least {
			least = cpu
		}
	}
	b.rows = append(b.rows, [4]string{what, readable(best), readable(least), aim})
	return nil
}

func readable(d time.Duration) string {
	if d > time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(100 * time.Microsecond).String()
}

// used is the processor time that the process took, on all processors, garbage collection and all.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// parse reads all files with as many goroutines as there are processors.
func (b *bench) parse() (layout.Input, error) {
	parsed := make([]*config.File, len(b.files))
	var g errgroup.Group
	n := runtime.GOMAXPROCS(0)
	for w := range n {
		g.Go(func() error {
			for i := w; i < len(b.files); i += n {
				f := b.files[i]
				src := config.Source{Project: benchProject(f.Project), Branch: f.Branch, Path: f.Path, Trusted: f.Project == "config"}
				parsed[i] = config.Parse(src, f.Data, benchConnections)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return layout.Input{}, err
	}
	in := layout.Input{Tenant: b.tenant}
	at := map[string]int{}
	for _, x := range b.tenant.Projects {
		at[x.Name] = len(in.Projects)
		in.Projects = append(in.Projects, layout.ProjectInput{Project: benchProject(x.Name), Options: x, Driver: "gerrit"})
	}
	for _, f := range parsed {
		p := &in.Projects[at[f.Source.Project.Name]]
		i := slices.IndexFunc(p.Branches, func(x layout.BranchInput) bool { return x.Name == f.Source.Branch })
		if i < 0 {
			i = len(p.Branches)
			p.Branches = append(p.Branches, layout.BranchInput{Name: f.Source.Branch})
		}
		p.Branches[i].Files = append(p.Branches[i].Files, f)
	}
	return in, nil
}

func benchProject(name string) change.Project {
	return change.Project{Connection: "gerrit", Host: "review.example.com", Name: name}
}

func (b *bench) run() error {
	var in layout.Input
	var live *layout.Layout
	if err := b.best("cold load: all files parsed, layout assembled", "< 10 s", func() (err error) {
		if in, err = b.parse(); err != nil {
			return err
		}
		live = layout.New(in)
		if len(live.Problems) > 0 {
			return fmt.Errorf("the generated tenant: %s", live.Problems[0].Text)
		}
		return nil
	}); err != nil {
		return err
	}
	b.rows = append(b.rows, [4]string{"  most memory of the process so far", peak(), "", "< 1.5 GiB"})
	victim := &in.Projects[len(in.Projects)/2]
	n := 0
	if err := b.best("a change to one file: its dynamic layout", "< 100 ms", func() error {
		n++
		text := fmt.Appendf(nil, "- job: {name: changed-%d}\n- project: {check: {jobs: [changed-%d]}}\n", n, n)
		f := config.Parse(victim.Branches[0].Files[0].Source, text, benchConnections)
		d := live.Dynamic(layout.DynamicInput{
			Changes:  []*change.Change{{Project: victim.Project, Branch: f.Source.Branch}},
			Proposed: []layout.Proposal{{Project: victim.Project, Branch: f.Source.Branch, Files: []*config.File{f}}}})
		if d.Blocked() {
			return fmt.Errorf("the change to the generated tenant: %s", d.Problems[0].Text)
		}
		return nil
	}); err != nil {
		return err
	}
	pipeline, project := gen.Graph()
	s := layout.Section{Project: benchProject(project), Branch: "master", Pipeline: pipeline}
	return b.best("freezing a graph of 40 jobs, five levels deep", "< 5 ms", func() error {
		if z := live.Freeze(layout.FreezeInput{Pipeline: pipeline, Changes: changes(s)}); z.Graph == nil || len(z.Graph.Jobs) < 40 {
			return fmt.Errorf("the graph of the generated tenant: %v", z.Problems)
		}
		return nil
	})
}

// git loads the tenant as `gozer config check` does, from bare repositories.
func (b *bench) git(cmd *cobra.Command) error {
	dir, err := os.MkdirTemp("", "gozer-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	repos, err := generate(b.size, dir)
	if err != nil {
		return err
	}
	if err := importAll(cmd, dir, repos); err != nil {
		return err
	}
	rounds := b.rounds
	b.rounds = 1
	defer func() { b.rounds = rounds }()
	return b.best("the same from bare repositories, git and all", "", func() error {
		_, err := checkout.Load(cmd.Context(), checkout.Options{Paths: []string{filepath.Join(dir, "git")},
			TenantFile: filepath.Join(dir, "main.yaml"), Connections: benchConnections.Connections})
		return err
	})
}

// peak is the most memory that the process had.
func peak() string {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%d MiB", u.Maxrss>>10)
}

func (b *bench) print(w io.Writer) error {
	fmt.Fprintf(w, "%d projects, %d definitions of jobs, %d pipelines, %d branches; %s; GOMAXPROCS %d, %s, load %s; best of %d\n\n",
		b.size.Projects, b.size.Variants, b.size.Pipelines, b.size.Branches,
		processor(), runtime.GOMAXPROCS(0), runtime.Version(), load(), b.rounds)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "WHAT\tTOOK\tPROCESSOR TIME\tAIM")
	for _, r := range b.rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", r[0], r[1], r[2], r[3])
	}
	return tw.Flush()
}

// processor is what Linux calls it.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		if key, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// load is how busy the machine was in the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}
