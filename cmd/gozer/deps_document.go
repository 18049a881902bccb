package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/deps"
	"github.com/gozer-ci/gozer/internal/deps/report"
)

// defaultPages is where the pages of a repository are, relative to it.
const defaultPages = "docs/dependencies"

func docCommand() *cobra.Command {
	var c contentFlags
	var d durationFlags
	var pipeline, out string
	cmd := &cobra.Command{
		Use: "doc [PATH]", Short: "Write the page that says what each job waits for, and why", Args: cobra.MaximumNArgs(1),
		Example: "  gozer deps doc\n  gozer deps doc --durations took.csv --output docs/dependencies",
		Long: `Writes a page in Markdown and a picture (SVG, and as Mermaid in the page) for each pipeline that deploys:
each job with what it does, what it waits for and why, what it excludes, how long it takes, and the critical
path. Reasons that no evidence shows go into gozer.yaml. Commit the pages, and let gozer deps check hold them.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			pages, err := write(cmd, &c, &d, at(args, 0), pipeline, out)
			if err != nil {
				return err
			}
			for _, f := range pages {
				fmt.Fprintln(cmd.OutOrStdout(), f.path)
				if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
					return err
				}
				if err := os.WriteFile(f.path, []byte(f.text), 0o644); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.add(cmd)
	d.add(cmd)
	cmd.Flags().StringVarP(&pipeline, "pipeline", "p", "", "only this pipeline (all that deploy)")
	cmd.Flags().StringVarP(&out, "output", "o", "", "folder of the pages (docs/dependencies of the checkout)")
	return cmd
}

// pageFile is a file of the document.
type pageFile struct{ path, text string }

// write makes the files of the document. Where no durations are asked for, those of the page that is
// there stay.
func write(cmd *cobra.Command, c *contentFlags, d *durationFlags, path, pipeline, out string) ([]pageFile, error) {
	a, err := c.open(cmd, path)
	if err != nil {
		return nil, err
	}
	return render(cmd, a, d, path, pipeline, out)
}

func render(cmd *cobra.Command, a *deps.Analysis, d *durationFlags, path, pipeline, out string) ([]pageFile, error) {
	list, err := pipelines(a, pipeline)
	if err != nil {
		return nil, err
	}
	if out == "" {
		out = filepath.Join(path, defaultPages)
	}
	var files []pageFile
	for _, p := range list {
		name := filepath.Join(out, p.Name+".md")
		took, err := d.of(cmd, p)
		if err != nil {
			return nil, err
		}
		if old, err := os.ReadFile(name); err == nil && !d.set() {
			took = report.Kept(string(old))
		}
		page, err := report.Document(a, p, took)
		if err != nil {
			return nil, err
		}
		files = append(files, pageFile{name, page.Markdown}, pageFile{filepath.Join(out, p.Name+".svg"), page.SVG})
	}
	return files, nil
}

func checkCommand() *cobra.Command {
	var c contentFlags
	var pipeline, out string
	var pagesOnly bool
	cmd := &cobra.Command{
		Use: "check [PATH]", Short: "Tell whether page, configuration and evidence still agree", Args: cobra.MaximumNArgs(1),
		Example: "  gozer deps check",
		Long: `Writes the pages of gozer deps doc anew and compares them with those that are there, and looks whether the
configuration keeps every edge that evidence asks for (high and medium confidence; gozer.yaml waives). Prints the
difference. Exits with 1 where something has drifted apart.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.open(cmd, at(args, 0))
			if err != nil {
				return err
			}
			files, err := render(cmd, a, &durationFlags{}, at(args, 0), pipeline, out)
			if err != nil {
				return err
			}
			drifted, err := drift(cmd.OutOrStdout(), files)
			if err != nil {
				return err
			}
			list, err := pipelines(a, pipeline)
			if err != nil {
				return err
			}
			for _, p := range list {
				for _, e := range a.Lacking(p) {
					if !pagesOnly {
						drifted = true
						fmt.Fprintf(cmd.OutOrStdout(), "%s does not keep: %s\n", p.Name, e)
					}
				}
			}
			if drifted {
				return exitError{code: exitNo}
			}
			fmt.Fprintln(cmd.OutOrStdout(), "pages, configuration and evidence agree")
			return nil
		},
	}
	c.add(cmd)
	cmd.Flags().StringVarP(&pipeline, "pipeline", "p", "", "only this pipeline (all that deploy)")
	cmd.Flags().StringVarP(&out, "output", "o", "", "folder of the pages (docs/dependencies of the checkout)")
	cmd.Flags().BoolVar(&pagesOnly, "pages-only", false, "compare the pages only")
	return cmd
}

// drift prints how files differ from what they should be.
func drift(w io.Writer, files []pageFile) (bool, error) {
	drifted := false
	for _, f := range files {
		old, err := os.ReadFile(f.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			drifted = true
			fmt.Fprintf(w, "%s is not there: gozer deps doc writes it\n", f.path)
		case err != nil:
			return false, err
		case string(old) != f.text:
			drifted = true
			if filepath.Ext(f.path) == ".svg" {
				fmt.Fprintf(w, "%s differs: gozer deps doc writes it anew\n", f.path)
				continue
			}
			fmt.Fprintf(w, "%s", diff.Diff(f.path, old, f.path+" as it should be", []byte(f.text)))
		}
	}
	return drifted, nil
}

func encodeCommand() *cobra.Command {
	var c contentFlags
	var pipeline string
	var apply bool
	cmd := &cobra.Command{
		Use: "encode [PATH]", Short: "Print the patch that puts missing edges into the Zuul configuration", Args: cobra.MaximumNArgs(1),
		Example: "  gozer deps encode > edges.patch && git apply edges.patch\n  gozer deps encode --write",
		Long: `Prints a patch (for git apply) that adds the edges of high and medium confidence that are missing: dependencies,
soft where they are not on a set-up job, and semaphores for jobs that must not run at once. What the
configuration says stays as it is written. What cannot be written is listed on standard error.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := at(args, 0)
			a, err := c.open(cmd, root)
			if err != nil {
				return err
			}
			list, err := pipelines(a, pipeline)
			if err != nil {
				return err
			}
			before := func(file string) (string, error) {
				data, err := os.ReadFile(filepath.Join(root, file))
				if errors.Is(err, fs.ErrNotExist) {
					return "", nil
				}
				return string(data), err
			}
			e, err := a.Encode(list, before)
			if err != nil {
				return err
			}
			for _, file := range sorted(e.Files) {
				old, err := before(file)
				if err != nil {
					return err
				}
				if apply {
					if err := os.WriteFile(filepath.Join(root, file), []byte(e.Files[file]), 0o644); err != nil {
						return err
					}
				}
				fmt.Fprint(cmd.OutOrStdout(), patch(file, old, e.Files[file]))
			}
			for _, text := range e.ByHand {
				fmt.Fprintln(cmd.ErrOrStderr(), "by hand:", text)
			}
			if len(e.Files)+len(e.ByHand) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "nothing is missing")
			}
			return nil
		},
	}
	c.add(cmd)
	cmd.Flags().StringVarP(&pipeline, "pipeline", "p", "", "only this pipeline (all that deploy)")
	cmd.Flags().BoolVar(&apply, "write", false, "write the files as well")
	return cmd
}
