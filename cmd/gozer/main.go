// Command gozer is all of Gozer: server roles and the verbs by which people use them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/provider/sandbox"
)

// version is set by the build.
var version = "dev"

// exitError ends the program with a code of its own; its text, if any, was shown already.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit %d", e.code) }

// Exit codes: 0 all is well, 1 the answer is no (findings, a failed build), 2 the command could not be
// carried out.
const (
	exitNo     = 1
	exitFailed = 2
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) > 0 && args[0] == "sandbox-node" {
		return sandbox.NodeMain(args[1:])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() { // the second signal ends the program at once
		<-ctx.Done()
		stop()
	}()
	return runWith(ctx, args, os.Stdin, os.Stdout, os.Stderr)
}

// runWith runs one command line and gives its exit code.
func runWith(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	cmd := root()
	cmd.SetArgs(args)
	cmd.SetIn(in)
	cmd.SetOut(out)
	cmd.SetErr(errs)
	err := cmd.ExecuteContext(ctx)
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	}
	fmt.Fprintln(errs, "gozer:", err)
	return exitFailed
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gozer",
		Short: "Project gating and continuous deployment",
		Long: `Gozer tests proposed changes, merges what passed, and deploys what merged. It reads
the Zuul configuration language and runs Ansible playbooks unchanged.

What works so far, and what does not, is in docs/STATUS.md.`,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	cmd.AddGroup(&cobra.Group{ID: "server", Title: "Servers:"}, &cobra.Group{ID: "use", Title: "Using a server:"},
		&cobra.Group{ID: "operate", Title: "Operating pipelines:"},
		&cobra.Group{ID: "local", Title: "Without a server:"})
	cmd.AddCommand(commands()...)
	cmd.SetHelpCommandGroupID("local")
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", GroupID: "local", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "gozer", version) },
	}
}
