package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/checkout"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/layout"
	"github.com/gozer-ci/gozer/internal/layout/explain"
)

func configDiff() *cobra.Command {
	f := &checkoutFlags{}
	var format string
	var with []string
	var all, exitCode bool
	cmd := &cobra.Command{
		Use: "diff [A [B]]", Short: "Tell which frozen jobs a change to the configuration alters, and how", Args: cobra.MaximumNArgs(2),
		Long: `Loads the configuration twice, freezes the jobs of every project, branch and pipeline, and shows which of them come,
go or differ, attribute by attribute. Jobs that change in the same way are told together.

A and B are folders (as for check), or revisions of the repository that you are in. Without A it is HEAD, and without B
the folder that you are in, as it is. Repositories that both sides need, such as the one with the base jobs, are given by --with.

Problems that only B has are told, too: with one of severity error the command exits with 1. With --exit-code it does
so for any difference.`,
		Example: `  gozer config diff                              what my uncommitted changes alter
  gozer config diff main my-topic
  gozer config diff origin/main --with ../project-config
  gozer config diff project-config@HEAD~1 project-config --with ~/src/opendev
  gozer config diff old-checkouts new-checkouts --format json`,
	}
	f.add(cmd)
	fl := cmd.Flags()
	formats(cmd, &format, "text", "json")
	fl.StringArrayVar(&with, "with", nil, "a further PATH that both sides have")
	fl.StringVarP(&f.o.Branch, "branch", "b", "", "the branch that both sides stand for")
	fl.BoolVar(&all, "all", false, "list every place and job of each difference")
	fl.BoolVar(&exitCode, "exit-code", false, "exit with 1 where some job differs")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		args = append(args, []string{"HEAD", "."}[len(args):]...)
		sides := [2]*checkout.Set{}
		tenants := [2]*checkout.Tenant{}
		for i, a := range args {
			paths, err := side(a, with)
			if err != nil {
				return err
			}
			if sides[i], tenants[i], err = f.one(cmd, paths); err != nil {
				return err
			}
			if i == 0 && f.o.Branch == "" {
				// Both sides are the same branch: one is the other with a change.
				if p := tenants[0].Projects; len(p) > 0 && len(p[0].Branches) == 1 && len(paths) == 1 {
					f.o.Branch = p[0].Branches[0].Name
				}
			}
		}
		list, err := differences(cmd, tenants[0].Layout, tenants[1].Layout)
		if err != nil {
			return err
		}
		broken := newProblems(tenants[0], tenants[1])
		out := cmd.OutOrStdout()
		if format == "json" {
			if err := asJSON(out, struct {
				Differences any              `json:"differences"`
				Problems    []config.Problem `json:"new_problems"`
			}{explain.Plain(list), append([]config.Problem{}, broken...)}); err != nil {
				return err
			}
		} else {
			if err := explain.Differences(out, format, list, all); err != nil {
				return err
			}
			writeNew(cmd, sides[1], broken)
		}
		if exitCode && len(list) > 0 || hasError(broken) {
			return exitError{code: exitNo}
		}
		return nil
	}
	return cmd
}

// differences is what layout.Diff finds, with several processors and progress.
func differences(cmd *cobra.Command, old, now *layout.Layout) ([]layout.Difference, error) {
	sections := now.Compared(old)
	found := make([][]layout.Difference, len(sections))
	p := newProgress("freezing job graphs")
	defer p.done()
	var n atomic.Int64
	g, ctx := errgroup.WithContext(cmd.Context())
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, s := range sections {
		g.Go(func() error {
			found[i] = now.DiffSection(old, s)
			p.step(int(n.Add(1)), len(sections))
			return ctx.Err()
		})
	}
	err := g.Wait()
	return slices.Concat(found...), err
}

// side is what is read for one argument: a path as it is, or else a revision of the repository that we are in.
func side(arg string, with []string) ([]string, error) {
	path := arg
	folder := arg
	if i := strings.LastIndexByte(arg, '@'); i > 0 {
		folder = arg[:i]
	}
	_, after, named := strings.Cut(folder, "=")
	if !isFolder(arg) && !isFolder(folder) && !(named && isFolder(after)) {
		top, err := repositoryHere()
		if err != nil {
			return nil, fmt.Errorf("%s is no folder, and %w", arg, err)
		}
		path = top + "@" + arg
	}
	if path == "." {
		if top, err := repositoryHere(); err == nil {
			path = top
		}
	}
	return append([]string{path}, with...), nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// repositoryHere is the top of the working tree, or the bare repository, that we are in.
func repositoryHere() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Lstat(filepath.Join(d, ".git")); err == nil {
			return d, nil
		}
		if isFolder(filepath.Join(d, "objects")) && isFolder(filepath.Join(d, "refs")) {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s is in no git repository that could have such a revision", dir)
		}
	}
}

// newProblems are those that only the second side has.
func newProblems(a, b *checkout.Tenant) []config.Problem {
	was := map[string]bool{}
	for _, p := range a.Layout.Problems {
		was[p.Source.Project.Canonical()+"\x00"+p.Source.Branch+"\x00"+p.Name+"\x00"+p.Short] = true
	}
	var out []config.Problem
	for _, p := range b.Layout.Problems {
		if !was[p.Source.Project.Canonical()+"\x00"+p.Source.Branch+"\x00"+p.Name+"\x00"+p.Short] {
			out = append(out, p)
		}
	}
	return out
}

func writeNew(cmd *cobra.Command, s *checkout.Set, problems []config.Problem) {
	if len(problems) == 0 {
		return
	}
	at := paths(s)
	fmt.Fprintf(cmd.OutOrStdout(), "New problems:\n")
	for _, p := range problems {
		fmt.Fprintf(cmd.OutOrStdout(), "  %s: %s: %s%s\n", at(p.Source, p.Line), p.Severity, p.Short, hint(p.Hint))
	}
}

func hasError(problems []config.Problem) bool {
	for _, p := range problems {
		if p.Severity == config.Error {
			return true
		}
	}
	return false
}
