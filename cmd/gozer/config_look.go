package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/checkout"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/layout"
	"github.com/gozer-ci/gozer/internal/layout/explain"
)

// changes is what a section is frozen for.
func changes(s layout.Section) []*change.Change { return []*change.Change{s.Change()} }

// paths shows places as files of the checkouts.
func paths(s *checkout.Set) explain.Place {
	return func(src config.Source, line int) string {
		switch {
		case src.Project.Name == checkout.Elsewhere:
			return "a repository that was not given"
		case src.Project.Name == "":
			return src.Path
		}
		at := fmt.Sprintf("%s:%d", s.Path(src), line)
		if several(s, src) {
			at += " on branch " + src.Branch
		}
		return at
	}
}

// several tells whether more than one branch of a source's project was read: then its path alone does not say which.
func several(s *checkout.Set, src config.Source) bool {
	for _, t := range s.Tenants {
		for _, p := range t.Projects {
			if p.Project == src.Project && len(p.Branches) > 1 {
				return true
			}
		}
	}
	return false
}

// jobLine is a job as `config jobs` lists it.
type jobLine struct {
	Name        string   `json:"name"`
	Parent      string   `json:"parent,omitempty"`
	Project     string   `json:"project"`
	Definitions []string `json:"definitions"`
	Kind        []string `json:"kind,omitempty"`
	Branches    []string `json:"branches,omitempty"`
	Pipelines   []string `json:"pipelines,omitempty"`
	Description string   `json:"description,omitempty"`
}

func configJobs() *cobra.Command {
	f := &checkoutFlags{}
	var asked, format string
	var tree bool
	cmd := &cobra.Command{
		Use: "jobs [PATH...]", Short: "List the jobs: parent, where they are defined and where they run",
		Long: `Lists every job with its parent, the pipelines that run it somewhere, its first definition, and the first line of
its description. --tree shows who inherits from whom.`,
		Example: `  gozer config jobs
  gozer config jobs --tree ~/src/opendev
  gozer config jobs --project system-config --format json`,
	}
	f.add(cmd)
	formats(cmd, &format, "text", "json")
	cmd.Flags().StringVarP(&asked, "project", "p", "", "only jobs that this project defines")
	cmd.Flags().BoolVar(&tree, "tree", false, "as a tree of inheritance")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, t, err := f.one(cmd, args)
		if err != nil {
			return err
		}
		project := asked
		if asked != "" {
			p, ok := t.Find(asked)
			if !ok {
				return fmt.Errorf("there is no project %q; %s", asked, listed("there are", t.Names()))
			}
			project = p.Name
		}
		lines := jobLines(s, t)
		out := cmd.OutOrStdout()
		if tree {
			writeTree(out, lines, project)
			return nil
		}
		if project != "" {
			lines = slices.DeleteFunc(lines, func(l jobLine) bool { return l.Project != project })
		}
		if format == "json" {
			return asJSON(out, append([]jobLine{}, lines...))
		}
		return writeJobs(out, lines)
	}
	return cmd
}

func jobLines(s *checkout.Set, t *checkout.Tenant) []jobLine {
	at := paths(s)
	runs := map[string][]string{}
	for _, sec := range t.Layout.Sections() {
		for _, name := range t.Layout.SectionJobs(sec) {
			if !slices.Contains(runs[name], sec.Pipeline) {
				runs[name] = append(runs[name], sec.Pipeline)
			}
		}
	}
	var out []jobLine
	for _, name := range t.Layout.Jobs() {
		l := jobLine{Name: name, Pipelines: runs[name]}
		for _, v := range t.Layout.Variants(name) {
			l.Definitions = append(l.Definitions, at(v.File.Source, v.Span.Line))
			if l.Project == "" {
				l.Project = v.File.Source.Project.Name
				l.Parent = v.Parent.Or(t.Layout.DefaultParent())
			}
			if l.Description == "" {
				l.Description, _, _ = strings.Cut(strings.TrimSpace(v.Description.Value), "\n")
			}
			for word, set := range map[string]bool{"abstract": v.Abstract.Value, "final": v.Final.Value, "intermediate": v.Intermediate.Value, "protected": v.Protected.Value} {
				if set && !slices.Contains(l.Kind, word) {
					l.Kind = append(l.Kind, word)
				}
			}
			for _, b := range v.Branches {
				if !slices.Contains(l.Branches, b.Regex) {
					l.Branches = append(l.Branches, b.Regex)
				}
			}
		}
		slices.Sort(l.Kind)
		if l.Project != checkout.Elsewhere {
			out = append(out, l)
		}
	}
	return out
}

func writeJobs(w io.Writer, lines []jobLine) error {
	if len(lines) == 0 {
		fmt.Fprintln(w, "There are no jobs.")
		return nil
	}
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "JOB\tPARENT\tRUNS IN\tDEFINED AT\tDESCRIPTION")
	for _, l := range lines {
		at := l.Definitions[0]
		if n := len(l.Definitions) - 1; n > 0 {
			at += fmt.Sprintf(" +%d", n)
		}
		in := strings.Join(l.Pipelines, " ")
		if len(l.Kind) > 0 {
			in = strings.TrimSpace(in + " (" + strings.Join(l.Kind, ", ") + ")")
		}
		text := l.Description
		if len(text) > 60 {
			text = strings.ToValidUTF8(text[:57], "") + "..."
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", l.Name, dash(l.Parent), dash(in), at, text)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// writeTree shows who inherits from whom. With a project only its jobs and their ancestors.
func writeTree(w io.Writer, lines []jobLine, project string) {
	children := map[string][]string{}
	byName := map[string]jobLine{}
	for _, l := range lines {
		byName[l.Name] = l
	}
	keep := map[string]bool{}
	for _, l := range lines {
		for n, steps := l.Name, 0; (project == "" || l.Project == project) && n != "" && steps <= len(lines); steps++ {
			keep[n] = true
			n = byName[n].Parent
		}
	}
	var roots []string
	for _, l := range lines {
		if !keep[l.Name] {
			continue
		}
		if _, known := byName[l.Parent]; !known {
			if l.Parent != "" && !slices.Contains(roots, l.Parent) {
				roots = append(roots, l.Parent)
			}
			if l.Parent == "" {
				roots = append(roots, l.Name)
				continue
			}
		}
		children[l.Parent] = append(children[l.Parent], l.Name)
	}
	seen := map[string]bool{}
	var show func(name, lead, next string)
	show = func(name, lead, next string) {
		note := ""
		if l, known := byName[name]; !known {
			note = "  (not given)"
		} else if len(l.Kind) > 0 {
			note = "  (" + strings.Join(l.Kind, ", ") + ")"
		}
		fmt.Fprintf(w, "%s%s%s\n", lead, name, note)
		if seen[name] {
			return
		}
		seen[name] = true
		for i, c := range children[name] {
			if i == len(children[name])-1 {
				show(c, next+"└─ ", next+"   ")
			} else {
				show(c, next+"├─ ", next+"│  ")
			}
		}
	}
	for _, r := range roots {
		show(r, "", "")
	}
	if len(roots) == 0 {
		fmt.Fprintln(w, "There are no jobs.")
	}
}

func configShow() *cobra.Command {
	f := &checkoutFlags{}
	var w where
	var format string
	cmd := &cobra.Command{
		Use: "show JOB [PATH...]", Short: "Show a frozen job: each attribute, its value, and the line that set it", Args: cobra.MinimumNArgs(1),
		Long: `Freezes a job as it would run for a change, and shows every attribute with where its value comes from: the
definitions of the job and its ancestors, its variants, and the project's pipeline, base first. A value that a later
definition replaced is marked as overridden.

Exits with 1 where the job does not run for such a change, and tells why.`,
		Example: `  gozer config show unit-tests
  gozer config show unit-tests --project system-config --branch main --pipeline gate
  gozer config show unit-tests --format json ~/src/opendev`,
	}
	f.add(cmd)
	w.add(cmd)
	w.complete(cmd, f, 1)
	formats(cmd, &format, "text", "json")
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveFilterDirs
		}
		return f.known(cmd, nil, func(t *checkout.Tenant) []string { return t.Layout.Jobs() })
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, t, err := f.one(cmd, args[1:])
		if err != nil {
			return err
		}
		sec, others, err := w.choose(t, args[0])
		if err != nil {
			return err
		}
		e, problems := t.Layout.Explain(sec.Change(), sec.Pipeline, args[0])
		if e == nil {
			return cannot(cmd, s, problems)
		}
		out := cmd.OutOrStdout()
		if format == "text" {
			fmt.Fprintf(out, "for a change to %s on branch %s in pipeline %s%s\n", sec.Project.Name, sec.Branch, sec.Pipeline, also(others))
		}
		return explain.Job(out, format, e, paths(s))
	}
	return cmd
}

// also says how many other sections would fit.
func also(others []layout.Section) string {
	if len(others) == 0 {
		return ""
	}
	o := others[0]
	more := ""
	if n := len(others) - 1; n > 0 {
		more = " and " + plural(n, "other", "others")
	}
	return fmt.Sprintf(" (it is also in %s of %s@%s%s)", o.Pipeline, o.Project.Name, o.Branch, more)
}

// cannot prints why there is no job or graph; the answer is no.
func cannot(cmd *cobra.Command, s *checkout.Set, problems []config.Problem) error {
	at := paths(s)
	for _, p := range problems {
		place := ""
		if p.Source.Path != "" {
			place = at(p.Source, p.Line) + ": "
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s%s%s\n", place, p.Short, hint(p.Hint))
	}
	return exitError{code: exitNo}
}

func configGraph() *cobra.Command {
	f := &checkoutFlags{}
	var w where
	var format string
	cmd := &cobra.Command{
		Use: "graph [PATH...]", Short: "Show the job graph that a change would get: text, Mermaid, DOT, SVG or JSON",
		Long: `Freezes the job graph of a project's pipeline as for a change whose files are not known, so that no job is left out
for its file matchers. Arrows lead from a job to those that wait for it; soft dependencies are dashed, non-voting
jobs have round ends.`,
		Example: `  gozer config graph --pipeline gate
  gozer config graph --pipeline deploy --format svg > deploy.svg
  gozer config graph --pipeline deploy --format mermaid     to paste into Markdown`,
	}
	f.add(cmd)
	w.add(cmd)
	w.complete(cmd, f, 0)
	formats(cmd, &format, explain.GraphFormats...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, t, err := f.one(cmd, args)
		if err != nil {
			return err
		}
		sec, others, err := w.choose(t, "")
		if err != nil {
			return err
		}
		z := t.Layout.Freeze(layout.FreezeInput{Pipeline: sec.Pipeline, Changes: changes(sec)})
		switch {
		case len(z.Problems) > 0:
			return cannot(cmd, s, z.Problems)
		case z.Graph == nil:
			return errors.New("the project is not in the pipeline")
		}
		out := cmd.OutOrStdout()
		if format == "text" {
			fmt.Fprintf(out, "for a change to %s on branch %s in pipeline %s%s\n", sec.Project.Name, sec.Branch, sec.Pipeline,
				strings.Replace(also(others), "it is also", "there is also one", 1))
		}
		return explain.Graph(out, format, z.Graph, fmt.Sprintf("%s of %s@%s", sec.Pipeline, sec.Project.Name, sec.Branch))
	}
	return cmd
}
