package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gozer-ci/gozer/internal/api"
	"github.com/gozer-ci/gozer/internal/node"
)

func nodesCommand() *cobra.Command {
	var s serverFlags
	var state, label []string
	cmd := &cobra.Command{
		Use: "nodes", Short: "List test nodes; hold, delete or log in to one", GroupID: "use", Args: cobra.NoArgs,
		Long: `Lists the nodes that the tenant uses, and those that are ready for whoever asks next: their state and
for how long they have been in it, who uses them, and how they are reached.`,
		Example: "  gozer nodes\n  gozer nodes --state hold\n  gozer nodes ssh n3f2a9c1b0d\n  gozer nodes hold n3f2a9c1b0d --reason 'ann looks at it' --for 2h",
	}
	f := format(cmd)
	s.add(cmd)
	cmd.Flags().StringSliceVar(&state, "state", nil, "only nodes in these states")
	cmd.Flags().StringSliceVar(&label, "label", nil, "only nodes of these labels")
	known := []string{string(node.Building), string(node.Testing), string(node.Ready), string(node.InUse), string(node.Used), string(node.Hold), string(node.Deleting), string(node.Failed)}
	completeWords(cmd, "state", known)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, x := range state {
			if !slices.Contains(known, x) {
				return wrongUse(cmd, "--state %q: it is one of %s", x, strings.Join(known, ", "))
			}
		}
		c, tenant, err := s.open(cmd)
		if err != nil {
			return err
		}
		list, err := c.Nodes(cmd.Context(), tenant)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(n api.Node) bool {
			return (len(state) > 0 && !slices.Contains(state, n.State)) || (len(label) > 0 && !slices.Contains(label, n.Label))
		})
		if *f == "json" {
			return asJSON(cmd.OutOrStdout(), list)
		}
		return showNodes(cmd.OutOrStdout(), list, time.Now())
	}
	cmd.AddCommand(nodesHold(), nodesDelete(), nodesSSH(), nodesKey())
	return cmd
}

func showNodes(w io.Writer, list []api.Node, now time.Time) error {
	if len(list) == 0 {
		fmt.Fprintln(w, "There are no such nodes.")
		return nil
	}
	slices.SortFunc(list, func(a, b api.Node) int { return strings.Compare(a.Provider+a.Label+a.ID, b.Provider+b.Label+b.ID) })
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NODE\tLABEL\tPROVIDER\tSTATE\tFOR\tAGE\tADDRESS\tUSED BY\tNOTE")
	for _, n := range list {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.ID, n.Label, n.Provider, n.State, since(n.StateTime, now), since(n.Made, now),
			address(&n), usedBy(&n), nodeNote(&n, now))
	}
	return tw.Flush()
}

// since is how long ago a time in seconds since 1970 is, in the two largest units.
func since(seconds float64, now time.Time) string {
	if seconds <= 0 {
		return "-"
	}
	return brief(now.Sub(time.UnixMilli(int64(seconds * 1000))))
}

// brief is a duration in its two largest units: 3d4h, 2h5m, 40s.
func brief(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	h := int(d.Hours())
	switch {
	case h >= 24:
		return fmt.Sprintf("%dd%dh", h/24, h%24)
	case h > 0:
		return fmt.Sprintf("%dh%dm", h, int(d.Minutes())%60)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return d.String()
}

func address(n *api.Node) string {
	if n.Host == "" {
		return "-"
	}
	at := n.Host
	if n.Port != 0 && n.Port != 22 {
		at = fmt.Sprintf("%s:%d", n.Host, n.Port)
	}
	if n.User != "" {
		at = n.User + "@" + at
	}
	return at
}

func usedBy(n *api.Node) string {
	switch {
	case n.Job != "" && n.Build != "":
		return fmt.Sprintf("%s (build %.8s)", n.Job, n.Build)
	case n.Job != "":
		return n.Job
	case n.Build != "":
		return "build " + n.Build
	}
	return "-"
}

func nodeNote(n *api.Node, now time.Time) string {
	var out []string
	if n.Comment != "" {
		first, _, _ := strings.Cut(n.Comment, "\n")
		out = append(out, first)
	}
	if n.HoldUntil != nil {
		out = append(out, "ends in "+brief(time.UnixMilli(int64(*n.HoldUntil*1000)).Sub(now)))
	}
	return strings.Join(out, "; ")
}

func nodesHold() *cobra.Command {
	var s serverFlags
	var reason string
	var keep time.Duration
	cmd := &cobra.Command{
		Use: "hold NODE --reason TEXT", Short: "Keep a node for people", Args: cobra.ExactArgs(1),
		Example: "  gozer nodes hold n3f2a9c1b0d --reason 'ann: why does it hang?' --for 2h",
		Long:    "A node that a build uses stays when the build has ended. Give it back with gozer nodes delete.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, tenant, err := s.open(cmd)
			if err != nil {
				return err
			}
			if reason == "" {
				return fmt.Errorf("say with --reason what the node is kept for, and by whom")
			}
			if err := c.HoldNode(cmd.Context(), tenant, args[0], api.NodeHoldRequest{Reason: reason, Expiration: int(keep.Seconds())}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Node %s is held. Log in with: gozer nodes ssh %[1]s\n", args[0])
			return nil
		},
	}
	s.add(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "what it is kept for, and by whom")
	cmd.Flags().DurationVar(&keep, "for", 0, "for how long (until it is deleted)")
	return cmd
}

func nodesDelete() *cobra.Command {
	var s serverFlags
	var force bool
	cmd := &cobra.Command{
		Use: "delete NODE...", Short: "Give nodes up, held ones too", Args: cobra.MinimumNArgs(1),
		Example: "  gozer nodes delete n3f2a9c1b0d",
		Long:    "Fresh nodes are deleted; hosts that are kept are looked at and used again.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, tenant, err := s.open(cmd)
			if err != nil {
				return err
			}
			for _, id := range args {
				if err := c.DeleteNode(cmd.Context(), tenant, id, force); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "Node %s is given up.\n", id)
			}
			return nil
		},
	}
	s.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "also nodes that builds use, which fail then")
	return cmd
}

func nodesKey() *cobra.Command {
	var s serverFlags
	cmd := &cobra.Command{
		Use: "key", Short: "Print the public key that static hosts must let in", Args: cobra.NoArgs,
		Example: "  gozer nodes key >> ~zuul/.ssh/authorized_keys    # on the host",
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := api.New(api.ClientConfig{URL: s.url, Token: s.token}).NodeKey(cmd.Context())
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), k)
			}
			return err
		},
	}
	s.add(cmd)
	return cmd
}

func nodesSSH() *cobra.Command {
	var s serverFlags
	cmd := &cobra.Command{
		Use: "ssh NODE [-- COMMAND...]", Short: "Log in to a node that is held or in use", Args: cobra.MinimumNArgs(1),
		Example: "  gozer nodes ssh n3f2a9c1b0d\n  gozer nodes ssh n3f2a9c1b0d -- journalctl -b",
		Long: `Opens a shell on the node, or runs a command there, through the server: it needs neither the node's
key nor a way to the node. The exit code is the command's.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, tenant, err := s.open(cmd)
			if err != nil {
				return err
			}
			code, err := nodeShell(cmd.Context(), cmd, c, tenant, args[0], strings.Join(args[1:], " "))
			if err != nil {
				return err
			}
			if code != 0 {
				return exitError{code: code}
			}
			return nil
		},
	}
	s.add(cmd)
	return cmd
}

// nodeShell runs a command or a shell on a node, with the terminal of this process where it has one.
func nodeShell(ctx context.Context, cmd *cobra.Command, c *api.Client, tenant, id, command string) (int, error) {
	start := api.ShellStart{Command: command}
	fd := int(os.Stdin.Fd())
	if command != "" || !term.IsTerminal(fd) {
		return c.Shell(ctx, tenant, id, start, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr(), nil)
	}
	start.Term = envOr("TERM", "xterm")
	start.Cols, start.Rows, _ = term.GetSize(fd)
	before, err := term.MakeRaw(fd)
	if err != nil {
		return -1, err
	}
	defer func() { _ = term.Restore(fd, before) }()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	say := make(chan api.ShellSay)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-resized:
			}
			if cols, rows, err := term.GetSize(fd); err == nil {
				select {
				case say <- api.ShellSay{Rows: rows, Cols: cols}:
				case <-ctx.Done():
				}
			}
		}
	}()
	return c.Shell(ctx, tenant, id, start, os.Stdin, os.Stdout, os.Stderr, say)
}
