package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/checkout"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/config/report"
	"github.com/gozer-ci/gozer/internal/layout"
)

func configCheck() *cobra.Command {
	f := &checkoutFlags{}
	var format string
	var noGraphs, quiet bool
	cmd := &cobra.Command{
		Use: "check [PATH...]", Short: "Find everything that is wrong with a configuration",
		Long: `Loads the configuration as a server would, freezes the job graph of every project, branch and pipeline, and prints
every problem at its line with what to do about it. One broken object hides no other.

A tenant that is not all there is checked as far as it goes: where the tenant file's repositories are not all given,
or none of those given has pipelines and the base job, a name that nothing defines is a warning, told once for each
name, unless it looks like a slip of the pen (--strict and --partial decide for all of them).

--format github writes annotations for GitHub Actions, sarif a file for code scanners, json for programs.

Exits with 0 where there is no error, 1 where there is, 2 where the check could not be carried out.`,
		Example: `  gozer config check
  gozer config check --tenant-file main.yaml /srv/git
  gozer config check --format github                 in a GitHub workflow
  gozer config check project-config system-config@HEAD~3
  gozer config check --keys keys.json --keys-password-file password /srv/git
  gozer config check openstack/nova=../nova ../project-config`,
	}
	f.add(cmd)
	fl := cmd.Flags()
	formats(cmd, &format, report.Formats...)
	fl.StringVar(&f.keys, "keys", "", "exported keys (gozer keys export, zuul-admin export-keys) to try to decrypt secrets with")
	fl.StringVar(&f.password, "keys-password-file", "", "file whose first line is the password of the exported keys")
	fl.BoolVar(&noGraphs, "no-graphs", false, "do not freeze job graphs")
	fl.BoolVarP(&quiet, "quiet", "q", false, "do not say what was read")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := f.load(cmd, args)
		if err != nil {
			return err
		}
		problems := slices.Clone(s.Problems)
		for _, t := range s.Tenants {
			found := slices.Concat(t.Elsewhere, t.Layout.Problems)
			if len(t.Elsewhere) == 0 && len(t.Missing) == 0 {
				found = append(found, t.Layout.Remarks()...)
			}
			if !noGraphs {
				graphs, err := graphProblems(cmd, t)
				if err != nil {
					return err
				}
				found = append(found, graphs...)
			}
			if len(s.Tenants) > 1 {
				for i := range found {
					found[i].Hint = joined(found[i].Hint, "in tenant "+t.Name)
				}
			}
			problems = append(problems, found...)
		}
		problems = once(problems)
		out := cmd.OutOrStdout()
		if format == "text" && !quiet {
			told(out, s)
		}
		if err := report.Write(out, format, problems, s.Path); err != nil {
			return err
		}
		if slices.ContainsFunc(problems, func(p config.Problem) bool { return p.Severity == config.Error }) {
			return exitError{code: exitNo}
		}
		return nil
	}
	return cmd
}

// completeWords lets the shell complete a flag.
func completeWords(cmd *cobra.Command, flag string, words []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// graphProblems freezes every job graph of a tenant. What the layout complains of already is not told again.
func graphProblems(cmd *cobra.Command, t *checkout.Tenant) ([]config.Problem, error) {
	sections := t.Layout.Sections()
	found := make([][]config.Problem, len(sections))
	p := newProgress("freezing job graphs")
	defer p.done()
	var n atomic.Int64
	g, ctx := errgroup.WithContext(cmd.Context())
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, s := range sections {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			for _, x := range t.Layout.Freeze(layout.FreezeInput{Pipeline: s.Pipeline, Changes: changes(s)}).Problems {
				x.Hint = joined(x.Hint, fmt.Sprintf("seen for %s on branch %s in pipeline %s", s.Project.Name, s.Branch, s.Pipeline))
				found[i] = append(found[i], x)
			}
			p.step(int(n.Add(1)), len(sections))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Concat(found...), func(p config.Problem) bool {
		return slices.ContainsFunc(t.Layout.Problems, func(o config.Problem) bool {
			return o.Severity == config.Error && o.Source == p.Source && o.Line == p.Line
		})
	}), nil
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// once leaves out what several tenants, or several job graphs, complain of in the same words.
func once(problems []config.Problem) []config.Problem {
	seen := map[string]int{}
	var out []config.Problem
	for _, p := range problems {
		id := p.Identity()
		i, again := seen[id]
		if !again {
			seen[id] = len(out)
			out = append(out, p)
			continue
		}
		if p.Name == config.NameJobGraph && p.Hint != out[i].Hint && !strings.HasSuffix(out[i].Hint, "and elsewhere") {
			out[i].Hint += ", and elsewhere"
		}
	}
	return out
}

// told says what was read, and what was taken for what.
func told(w io.Writer, s *checkout.Set) {
	for _, t := range s.Tenants {
		repositories, files := t.Reads()
		lay := t.Layout
		head := fmt.Sprintf("tenant %s of %s", t.Name, s.TenantFile)
		if s.TenantFile == "" {
			head = "no tenant file: one tenant is guessed"
		}
		fmt.Fprintf(w, "%s: %s, %s, %s, %s\n", head, plural(repositories, "repository", "repositories"),
			plural(files, "file", "files"), plural(len(lay.Pipelines), "pipeline", "pipelines"), plural(len(lay.Jobs())-len(elsewhereJobs(t)), "job", "jobs"))
		const most = 20
		width := 0
		for _, p := range t.Projects[:min(most, len(t.Projects))] {
			width = max(width, len(p.Name))
		}
		for i, p := range t.Projects {
			if i == most {
				fmt.Fprintf(w, "  and %d more\n", len(t.Projects)-most)
				break
			}
			fmt.Fprintf(w, "  %-*s  %s\n", width, p.Name, described(p))
		}
		if n := len(t.Missing); n > 0 {
			fmt.Fprintf(w, "  not given: %s\n", strings.TrimPrefix(listed("", t.Missing), ": "))
		}
	}
	fmt.Fprintln(w)
}

// elsewhereJobs are those that a stand-in defines.
func elsewhereJobs(t *checkout.Tenant) []string {
	var out []string
	for _, name := range t.Layout.Jobs() {
		if v := t.Layout.Variants(name); len(v) > 0 && v[0].File.Source.Project.Name == checkout.Elsewhere {
			out = append(out, name)
		}
	}
	return out
}

func described(p checkout.Project) string {
	kind := "untrusted project"
	if p.Trusted {
		kind = "config project"
	}
	var from []string
	for _, b := range p.Branches {
		s := b.Name
		switch b.From {
		case "":
			s += " (as it is in the folder)"
		case b.Name, "heads/" + b.Name, "remotes/origin/" + b.Name:
		default:
			s += " (at " + b.From + ")"
		}
		if b.Files == 0 {
			s += " without configuration"
		}
		from = append(from, s)
	}
	if len(from) == 0 {
		return kind + ", no branch that counts"
	}
	return kind + ", " + strings.TrimPrefix(listed("", from), ": ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
