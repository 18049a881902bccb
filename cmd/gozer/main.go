// Command gozer is all of Gozer: server roles and the verbs by which people use them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/provider/sandbox"
)

// version is set by the build.
var version = "dev"

// exitError ends the program with a code of its own. Without a text all was said already.
type exitError struct {
	code int
	text string
}

func (e exitError) Error() string { return e.text }

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
	return runWith(ctx, args, os.Stdin, screenOf(os.Stdout), screenOf(os.Stderr))
}

// runWith runs one command line and gives its exit code. A program that asked for JSON gets some in any case: where
// the command had nothing to tell, {"error": ...} beside the words on standard error.
func runWith(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	cmd := root()
	cmd.SetArgs(args)
	cmd.SetIn(in)
	cmd.SetOut(out)
	told := &counting{Writer: out}
	if slices.ContainsFunc(args, func(a string) bool { return strings.HasSuffix(a, "json") }) {
		cmd.SetOut(told) // else it stays what it is: a terminal, perhaps
	}
	cmd.SetErr(errs)
	called, err := cmd.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	code := exitFailed
	if exit := (exitError{}); errors.As(err, &exit) {
		code = exit.code
	}
	if err.Error() == "" {
		return code
	}
	fmt.Fprintln(errs, "gozer:", err)
	if hint := elsewhere(called, err); hint != "" {
		fmt.Fprintln(errs, "  "+hint)
	}
	if f := called.Flags().Lookup("format"); f != nil && f.Value.String() == "json" && cmd.OutOrStdout() == io.Writer(told) && told.n == 0 {
		_ = asJSON(out, map[string]string{"error": err.Error()}) // who cannot be written to has the exit code
	}
	return code
}

// counting knows whether anything was written.
type counting struct {
	io.Writer
	n int
}

func (c *counting) Write(p []byte) (int, error) {
	c.n += len(p)
	return c.Writer.Write(p)
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gozer",
		Short: "Project gating and continuous deployment",
		Long: `Gozer tests proposed changes, merges what passed, and deploys what merged. It reads
the Zuul configuration language and runs Ansible playbooks unchanged.

  gozer demo                        all of it on this machine, in two minutes
  gozer server --config gozer.yaml  every role in one process; docs/guide.md begins there
  gozer deps audit                  which deploy jobs of a checkout depend on which; needs no server

Commands that use a server take its address from --server or $GOZER_SERVER (http://127.0.0.1:8090), the tenant from
--tenant or $GOZER_TENANT, and a token from --token or $GOZER_TOKEN. Where --format json is known, standard output is
JSON also where something went wrong. $NO_COLOR turns colours off.

Exit codes: 0 yes, 1 the answer is no (something was found, a build failed, a wish was refused), 2 the command could
not be carried out; standard error says why.`,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	cmd.AddGroup(&cobra.Group{ID: "server", Title: "Servers:"}, &cobra.Group{ID: "use", Title: "Using a server:"},
		&cobra.Group{ID: "operate", Title: "Operating pipelines:"},
		&cobra.Group{ID: "local", Title: "Without a server:"})
	cmd.AddCommand(commands()...)
	cmd.SetHelpCommandGroupID("local")
	cmd.SetHelpCommand(helpCommand(cmd))
	cmd.SetUsageTemplate(usage(cmd.UsageTemplate()))
	strict(cmd)
	return cmd
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", GroupID: "local", Args: cobra.NoArgs,
		Example: "  gozer version",
		Run:     func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "gozer", version) },
	}
}
