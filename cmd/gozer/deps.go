package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/deps"
	"github.com/gozer-ci/gozer/internal/deps/read"
	"github.com/gozer-ci/gozer/internal/deps/report"
)

func depsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "deps", Short: "Understand what the jobs of a deployment depend on", GroupID: "local",
		Long: `Reads a checkout with a Zuul configuration and Ansible playbooks, and works out which jobs must run before
which, which must not run at once, and what cannot be known; with file and line as evidence. It needs no
server and no account, and changes nothing.

  gozer deps audit              what is missing, what does nothing, what is wrong with matchers
  gozer deps why gitea grafana  all evidence for two jobs
  gozer deps simulate           how long 1, 2, 4, 8, 16 jobs at a time would take
  gozer deps races BUILDSET     what jobs of a deployment really touched without an order (asks a server)

PATH (for why: -C PATH) is the checkout, the present folder where it is not given. docs/deps.md says more.`,
	}
	cmd.AddCommand(auditCommand(), whyCommand(), simulateCommand(), docCommand(), checkCommand(), encodeCommand(), triggersCommand(), racesCommand())
	return cmd
}

// contentFlags are those of every command that reads the content of a checkout.
type contentFlags struct {
	python, dir string
	inventory   []string
	projects    []string
	fresh       bool
	seconds     int
}

func (f *contentFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.python, "python", "", "Python with ansible-core (that of gozer ansible install, else the one of ansible-playbook on PATH)")
	cmd.Flags().StringVar(&f.dir, "ansible-dir", envOr("GOZER_ANSIBLE_DIR", defaultAnsibleDir()), "folder of the environments that gozer ansible install made")
	cmd.Flags().StringSliceVar(&f.inventory, "inventory", nil, "sources of the inventory (those of gozer.yaml or ansible.cfg, else usual places)")
	cmd.Flags().StringSliceVar(&f.projects, "projects", nil, "folders with checkouts of other projects, whose roles and jobs this one uses (those beside PATH)")
	cmd.Flags().BoolVar(&f.fresh, "no-cache", false, "read everything again")
	cmd.Flags().IntVar(&f.seconds, "inventory-timeout", 20, "seconds that one source of the inventory may take")
}

// open reads the checkout and works out its edges. Progress goes to the terminal, where there is one.
func (f *contentFlags) open(cmd *cobra.Command, path string) (*deps.Analysis, error) {
	o := read.Options{Path: path, Python: f.python, Inventory: f.inventory, Projects: f.projects, InventoryLimit: time.Duration(f.seconds) * time.Second}
	if !f.fresh {
		o.Cache = filepath.Join(cacheDir(), "deps")
	}
	if o.Python == "" {
		if env, err := ansible.Find(f.dir, "9"); err == nil {
			o.Python = env.Python()
		}
	}
	clear := func() {}
	if isTerminal(os.Stderr) {
		o.Progress = func(text string) { fmt.Fprintf(os.Stderr, "\r\x1b[Kreading %s", text) }
		clear = func() { fmt.Fprint(os.Stderr, "\r\x1b[K") }
	} else {
		began, last := time.Now(), time.Now()
		o.Progress = func(text string) {
			if time.Since(began) > 2*time.Second && time.Since(last) > time.Second {
				last = time.Now()
				fmt.Fprintln(os.Stderr, "reading", text)
			}
		}
	}
	for _, source := range f.inventory {
		if strings.Contains(source, ",") {
			continue // hosts by their names
		}
		if _, err := os.Stat(under(path, source)); err != nil {
			return nil, fmt.Errorf("--inventory %s: %w", source, err)
		}
	}
	repo, err := read.Repo(cmd.Context(), o)
	clear()
	if errors.Is(err, read.ErrNoAnsible) {
		return nil, fmt.Errorf("%w; `gozer ansible install` sets one up", err)
	}
	if err != nil {
		return nil, err
	}
	return deps.Analyse(repo)
}

// under is a path of the checkout, unless it is one of its own.
func under(path, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(path, name)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// at is the optional PATH.
func at(args []string, n int) string {
	if len(args) > n {
		return args[n]
	}
	return "."
}

// pipelines are those that the flag names, else all that deploy something.
func pipelines(a *deps.Analysis, name string) ([]*deps.Pipeline, error) {
	var out []*deps.Pipeline
	var names []string
	for i := range a.Pipelines {
		p := &a.Pipelines[i]
		names = append(names, p.Name)
		if name == p.Name || name == "" && a.Deploys(p) {
			out = append(out, p)
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case name != "":
		return nil, fmt.Errorf("no pipeline is called %q here; there are: %s", name, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("no pipeline here has a job that works on a host of the inventory, in a cluster or in a cloud, as far as was read; there are: %s; name one with --pipeline", strings.Join(names, ", "))
}

// into runs f on the standard output, or on a file.
func into(cmd *cobra.Command, file string, f func(io.Writer) error) error {
	if file == "" || file == "-" {
		return f(cmd.OutOrStdout())
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(f(out), out.Close())
}

func auditCommand() *cobra.Command {
	var c contentFlags
	var o deps.AuditOptions
	var format, level, out string
	var all bool
	cmd := &cobra.Command{
		Use: "audit [PATH]", Short: "Find what is missing, what does nothing, and what collides", Args: cobra.MaximumNArgs(1),
		Example: "  gozer deps audit\n  gozer deps audit --level error\n  gozer deps audit --format html -o findings.html ~/src/system-config",
		Long: `Compares what the jobs of each pipeline really read, write, restart and call with the dependencies and
semaphores that are declared, and checks the matchers of files. Findings are sorted by what is at stake.

Exits with 1 where there is a finding of --level or worse that gozer.yaml does not waive, and with 2 where
the checkout could not be read.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.open(cmd, at(args, 0))
			if err != nil {
				return err
			}
			if _, err := pipelines(a, o.Pipeline); err != nil && o.Pipeline != "" {
				return err
			}
			o.Today = time.Now().Format(time.DateOnly)
			found := a.Audit(o)
			err = into(cmd, out, func(w io.Writer) error {
				return report.Audit(w, format, a, found, report.Style{All: all, Color: isTerminal(w) && os.Getenv("NO_COLOR") == ""})
			})
			if err != nil {
				return err
			}
			if slices.ContainsFunc(found.Findings, func(f deps.Finding) bool { return f.Level.Worse(deps.Level(level)) }) && level != "never" {
				return exitError{code: exitNo}
			}
			return nil
		},
	}
	c.add(cmd)
	cmd.Flags().StringVarP(&o.Pipeline, "pipeline", "p", "", "only this pipeline (all that deploy)")
	formats(cmd, &format, report.AuditFormats...)
	level = string(deps.LevelWarning)
	choice(cmd, &level, "level", "", "exit with 1 from this level on: ", string(deps.LevelError), string(deps.LevelWarning), string(deps.LevelNote), "never")
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to this file")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "show notes and all that is unknown")
	return cmd
}

func whyCommand() *cobra.Command {
	var c contentFlags
	var format, path string
	cmd := &cobra.Command{
		Use: "why A B", Short: "Show the evidence for two jobs, or that none is known", Args: cobra.ExactArgs(2),
		Example: "  gozer deps why letsencrypt gitea\n  gozer deps why -C examples/opendev/system-config static zuul",
		Long: `Shows every edge between two jobs with its evidence on both sides, the way through other jobs where none
leads directly, what is declared, and what is not known of them. The end of a job's name is enough.

Exits with 1 where no evidence is known.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.open(cmd, path)
			if err != nil {
				return err
			}
			r, err := report.Why(a, args[0], args[1])
			if err != nil {
				return err
			}
			switch format {
			case "text":
				err = r.Text(cmd.OutOrStdout())
			case "json":
				err = report.JSON(cmd.OutOrStdout(), r)
			}
			if err == nil && len(r.Edges)+len(r.Chain) == 0 {
				return exitError{code: exitNo}
			}
			return err
		},
	}
	c.add(cmd)
	cmd.Flags().StringVarP(&path, "path", "C", ".", "the checkout")
	formats(cmd, &format, "text", "json")
	return cmd
}
