package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/gozer-ci/gozer/internal/config/gen"
)

// sizeFlags choose how big a generated tenant is.
func sizeFlags(cmd *cobra.Command) *gen.Size {
	s := gen.Big
	cmd.Flags().IntVar(&s.Projects, "projects", s.Projects, "untrusted projects")
	cmd.Flags().IntVar(&s.Variants, "variants", s.Variants, "definitions of jobs, over all projects and branches")
	cmd.Flags().IntVar(&s.Pipelines, "pipelines", s.Pipelines, "pipelines")
	cmd.Flags().IntVar(&s.Branches, "branches", s.Branches, "branches of each project")
	return &s
}

func checkSize(s *gen.Size) error {
	for what, n := range map[string]int{"projects": s.Projects, "variants": s.Variants, "pipelines": s.Pipelines, "branches": s.Branches} {
		if n < 1 || n > 1_000_000 {
			return fmt.Errorf("--%s must be between 1 and 1000000, not %d", what, n)
		}
	}
	return nil
}

func configGenerate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "generate DIR", Short: "Write a big tenant, for measurements", Args: cobra.ExactArgs(1), Hidden: true,
		Long: `Writes a tenant file (DIR/main.yaml) and its repositories, the same for the same size: as plain files below
DIR/files/PROJECT/BRANCH, and as bare repositories below DIR/git, for any program that reads Zuul's language.`,
		Example: "  gozer config generate /tmp/big && gozer config check --tenant-file /tmp/big/main.yaml /tmp/big/git",
	}
	size := sizeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkSize(size); err != nil {
			return err
		}
		if entries, err := os.ReadDir(args[0]); err == nil && len(entries) > 0 {
			return fmt.Errorf("%s is not empty", args[0])
		}
		repos, err := generate(*size, args[0])
		if err != nil {
			return err
		}
		return importAll(cmd, args[0], repos)
	}
	return cmd
}

// generate writes the plain files, and gives those of each project.
func generate(size gen.Size, dir string) (map[string][]gen.File, error) {
	repos := map[string][]gen.File{}
	err := size.Write(func(f gen.File) error {
		path := filepath.Join(dir, f.Path)
		if f.Project != "" {
			path = filepath.Join(dir, "files", f.Project, filepath.FromSlash(f.Branch), f.Path)
			repos[f.Project] = append(repos[f.Project], f)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, f.Data, 0o644)
	})
	return repos, err
}

// importAll makes a bare repository of each project.
func importAll(cmd *cobra.Command, dir string, repos map[string][]gen.File) error {
	p := newProgress("making repositories")
	defer p.done()
	var n atomic.Int64
	g, ctx := errgroup.WithContext(cmd.Context())
	g.SetLimit(runtime.GOMAXPROCS(0) + 1)
	for name, files := range repos {
		g.Go(func() error {
			if err := importRepository(ctx, filepath.Join(dir, "git", name+".git"), files); err != nil {
				return fmt.Errorf("make the repository of %s: %w", name, err)
			}
			p.step(int(n.Add(1)), len(repos))
			return nil
		})
	}
	return g.Wait()
}

// importRepository writes the files of each branch as its only commit; the same files give the same commit.
func importRepository(ctx context.Context, dir string, files []gen.File) error {
	if out, err := exec.CommandContext(ctx, "git", "init", "-q", "--bare", "--template=", "-b", "master", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	var in bytes.Buffer
	branch := ""
	for _, f := range files {
		if f.Branch != branch {
			branch = f.Branch
			fmt.Fprintf(&in, "commit refs/heads/%s\ncommitter Gozer <gozer@example.org> 1700000000 +0000\ndata 9\ngenerated\n", branch)
		}
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", f.Path, len(f.Data), f.Data)
	}
	cmd := exec.CommandContext(ctx, "git", "--git-dir="+dir, "fast-import", "--quiet")
	cmd.Stdin = io.Reader(&in)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
