package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/forge/local"
)

// changeCommand is the built-in forge on the command line.
func changeCommand() *cobra.Command {
	c := &local.Client{}
	cmd := &cobra.Command{
		Use: "change", Short: "List, read, vote on and comment changes of the built-in forge", GroupID: "use",
		Long: `Changes are made by pushing: git push origin HEAD:refs/for/main. Here they are read, voted on and
commented. A change that has Approved 1 enters the gate.`,
	}
	cmd.PersistentFlags().StringVar(&c.URL, "forge", envOr("GOZER_FORGE", "http://127.0.0.1:8090/forge/local"), "address of the forge ($GOZER_FORGE)")
	cmd.PersistentFlags().StringVar(&c.User, "user", envOr("GOZER_USER", login()), "who you are ($GOZER_USER)")
	cmd.PersistentFlags().StringVar(&c.Token, "token", os.Getenv("GOZER_TOKEN"), "your token, where the forge has users ($GOZER_TOKEN)")
	cmd.AddCommand(changeList(c), changeShow(c), changeDiff(c), changeVote(c),
		changeVerb(c, "comment", "Comment a change", func(ctx context.Context, n int, text string) error {
			return c.Review(ctx, n, local.Review{Message: text})
		}),
		changeVerb(c, "abandon", "Abandon a change", c.Abandon), changeVerb(c, "restore", "Open an abandoned change again", c.Restore))
	return cmd
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func login() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "anonymous"
}

func number(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is no number of a change", s)
	}
	return n, nil
}

func asJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// listing shows what was asked for: as JSON, in one sentence where there is nothing, or as a table of rows.
func listing[T any](out io.Writer, format string, list []T, none, heading string, row func(w io.Writer, x *T)) error {
	if format == "json" {
		return asJSON(out, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, none)
		return err
	}
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, heading)
	for i := range list {
		row(tw, &list[i])
	}
	return tw.Flush()
}

func changeList(c *local.Client) *cobra.Command {
	q := local.Filter{Status: local.StatusNew}
	var all bool
	cmd := &cobra.Command{Use: "list", Short: "List changes, the newest first", Args: cobra.NoArgs,
		Long:    `Lists the open changes with their votes; --all lists merged and abandoned ones, too.`,
		Example: "  gozer change list\n  gozer change list --all --project org/app",
	}
	f := format(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "merged and abandoned ones, too")
	cmd.Flags().StringVarP(&q.Project, "project", "p", "", "of this project")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if all {
			q.Status = ""
		}
		list, err := c.Changes(cmd.Context(), q)
		if err != nil {
			return err
		}
		heading := "CHANGE\tSTATUS\tPROJECT\tBRANCH\tOWNER\tVOTES\tSUBJECT"
		return listing(cmd.OutOrStdout(), *f, list, "There are no such changes.", heading, func(w io.Writer, r *local.Record) {
			subject, _, _ := strings.Cut(r.Current.Message, "\n")
			fmt.Fprintf(w, "%d,%d\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Number, r.Patchset, r.Status, r.Project, r.Branch, r.Owner, votes(r), subject)
		})
	}
	return cmd
}

func votes(r *local.Record) string {
	var out []string
	for _, v := range r.Votes {
		out = append(out, fmt.Sprintf("%s%+d", v.Label, v.Value))
	}
	return strings.Join(out, " ")
}

func changeShow(c *local.Client) *cobra.Command {
	cmd := &cobra.Command{Use: "show NUMBER", Short: "Show a change with everything that was said of it", Args: cobra.ExactArgs(1),
		Long:    `Shows message, votes, what is missing before it can merge, and every comment, those of reports too.`,
		Example: "  gozer change show 12",
	}
	f := format(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n, err := number(args[0])
		if err != nil {
			return err
		}
		d, err := c.Change(cmd.Context(), n)
		if err != nil {
			return err
		}
		if *f == "json" {
			return asJSON(cmd.OutOrStdout(), d)
		}
		show(cmd.OutOrStdout(), d)
		return nil
	}
	return cmd
}

func show(w io.Writer, d *local.Detail) {
	fmt.Fprintf(w, "Change %d, patch set %d  %s\n%s\n", d.Number, d.Patchset, d.Status, d.URL)
	fmt.Fprintf(w, "%s, branch %s, by %s\n", d.Project, d.Branch, d.Owner)
	if d.Topic != "" {
		fmt.Fprintf(w, "topic %s\n", d.Topic)
	}
	if d.Landed != "" {
		fmt.Fprintf(w, "merged as %s\n", d.Landed)
	}
	fmt.Fprintf(w, "\n%s\n", indent(strings.TrimSpace(d.Current.Message), "    "))
	if v := votes(&d.Record); v != "" {
		fmt.Fprintf(w, "\nVotes: %s\n", v)
	}
	if len(d.Missing) > 0 && d.Status == local.StatusNew {
		fmt.Fprintf(w, "Needs: %s\n", strings.Join(d.Missing, ", "))
	}
	for _, m := range d.Comments {
		fmt.Fprintf(w, "\n%s  %s on patch set %d", m.At.Local().Format("2006-01-02 15:04:05"), m.User, m.Patchset)
		for _, v := range m.Votes {
			if v.Value != 0 {
				fmt.Fprintf(w, "  %s%+d", v.Label, v.Value)
			}
		}
		fmt.Fprintln(w)
		if text := strings.TrimSpace(m.Text); text != "" {
			fmt.Fprintln(w, indent(text, "    "))
		}
		for _, fc := range m.Files {
			fmt.Fprintf(w, "      %s:%d: %s\n", fc.Path, fc.Line, strings.TrimSpace(fc.Message))
		}
	}
}

func indent(s, by string) string { return by + strings.ReplaceAll(s, "\n", "\n"+by) }

func changeDiff(c *local.Client) *cobra.Command {
	var ps int
	cmd := &cobra.Command{Use: "diff NUMBER", Short: "Show what a change changes", Args: cobra.ExactArgs(1), Example: "  gozer change diff 12\n  gozer change diff 12 --patchset 1", RunE: func(cmd *cobra.Command, args []string) error {
		n, err := number(args[0])
		if err != nil {
			return err
		}
		text, err := c.Diff(cmd.Context(), n, ps)
		fmt.Fprint(cmd.OutOrStdout(), text)
		return err
	}}
	cmd.Flags().IntVar(&ps, "patchset", 0, "an earlier patch set (the newest)")
	return cmd
}

func changeVote(c *local.Client) *cobra.Command {
	var message string
	cmd := &cobra.Command{
		Use: "vote NUMBER LABEL VALUE", Short: "Vote on a change", Args: cobra.ExactArgs(3),
		Example: "  gozer change vote 12 Approved 1        # lets it enter the gate\n  gozer change vote 12 Code-Review 2 -m 'looks good'",
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := number(args[0])
			if err != nil {
				return err
			}
			v, err := strconv.Atoi(args[2])
			if err != nil {
				return fmt.Errorf("%q is no value of a vote", args[2])
			}
			return c.Review(cmd.Context(), n, local.Review{Message: message, Votes: map[string]int{args[1]: v}})
		},
	}
	cmd.Flags().StringVarP(&message, "message", "m", "", "a comment")
	return cmd
}

func changeVerb(_ *local.Client, verb, text string, do func(context.Context, int, string) error) *cobra.Command {
	var message string
	cmd := &cobra.Command{Use: verb + " NUMBER", Short: text, Args: cobra.ExactArgs(1), Example: "  gozer change " + verb + " 12 -m 'why'", RunE: func(cmd *cobra.Command, args []string) error {
		n, err := number(args[0])
		if err != nil {
			return err
		}
		return do(cmd.Context(), n, message)
	}}
	cmd.Flags().StringVarP(&message, "message", "m", "", "what to say")
	return cmd
}
