package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	terminal "github.com/gozer-ci/gozer/internal/api/term"
	"github.com/gozer-ci/gozer/internal/executor"
	"github.com/gozer-ci/gozer/internal/settings"
)

// commandSocket is where an executor listens for commands: whoever may enter its data folder may give them.
func commandSocket(data string) string { return filepath.Join(data, "executor.sock") }

// serveCommands obeys the commands of gozer executor until ctx ends.
func (p *process) serveCommands(ctx context.Context, x *executor.Executor) error {
	l, err := listenInside(commandSocket(p.set.Data))
	if err != nil { // the builds do not need it
		p.log.Warn("gozer executor cannot reach this executor", "error", err)
		return nil
	}
	return serveHTTP(ctx, l, x.CommandHandler(), p.log)
}

func executorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "executor", Short: "Pause, drain and look at the executor of this machine", GroupID: "server",
		Long: `Tells the executor whose data folder --config or --data names what to do, over a socket in that folder. A pause
holds until unpause, also for the processes that come after this one; all else, until the executor ends.`,
		Example: "  gozer executor status --config gozer.yaml\n  gozer executor graceful --config gozer.yaml --wait",
	}
	cmd.AddCommand(executorVerb("status", "tell how it is, and which builds it runs", http.MethodGet))
	for _, c := range executor.Commands {
		cmd.AddCommand(executorVerb(c.Name, c.Does, http.MethodPost))
	}
	return cmd
}

func executorVerb(name, does, method string) *cobra.Command {
	var file, data, format, reason string
	var wait bool
	cmd := &cobra.Command{Use: name, Short: strings.ToUpper(does[:1]) + does[1:], Args: cobra.NoArgs,
		Long: strings.ToUpper(does[:1]) + does[1:] + `.

Works on the machine of the executor, as a user who may enter its data folder. Exit code 2: no executor answers there.`,
		Example: "  gozer executor " + name + " --config gozer.yaml"}
	fl := cmd.Flags()
	fl.StringVarP(&file, "config", "c", "", "configuration of its process")
	fl.StringVar(&data, "data", "", "its data folder, in place of --config")
	formats(cmd, &format, "text", "json")
	if name == "graceful" || name == "stop" {
		fl.BoolVar(&wait, "wait", false, "return when it has stopped")
	}
	if name == "pause" {
		fl.StringVar(&reason, "reason", "", "why, for those who see that it is paused")
	}
	cmd.MarkFlagsMutuallyExclusive("config", "data")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case file == "" && data == "":
			return errors.New("name the configuration of the executor's process with --config FILE, or its data folder with --data")
		case file != "":
			set, err := settings.Read(file)
			if err != nil {
				return err
			}
			data = set.Data
		}
		s, err := askExecutor(cmd.Context(), data, method, name, reason)
		if err != nil {
			return err
		}
		if format == "json" {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(s)
		}
		showExecutor(cmd.OutOrStdout(), s)
		if wait {
			return awaitEnd(cmd.Context(), cmd.ErrOrStderr(), data)
		}
		return nil
	}
	return cmd
}

func askExecutor(ctx context.Context, data, method, name, reason string) (*executor.Status, error) {
	path := commandSocket(data)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	said := url.Values{"by": {whoSays()}, "reason": {reason}}
	req, err := http.NewRequestWithContext(ctx, method, "http://executor/"+name+"?"+said.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		if u := new(url.Error); errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("no executor answers in %s; does it run, and is this its data folder? %w", data, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(body)))
	}
	if err != nil {
		return nil, err
	}
	s := &executor.Status{}
	return s, json.Unmarshal(body, s)
}

// whoSays is the user of this command: of sudo, who called it.
func whoSays() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

func showExecutor(w io.Writer, s *executor.Status) {
	zone := ""
	if s.Zone != "" {
		zone = ", zone " + s.Zone
	}
	fmt.Fprintf(w, "%s on %s%s: %s\n", s.ID, s.Host, zone, s.State)
	if p := s.Paused; p != nil {
		fmt.Fprintf(w, "  %s\n", terminal.Paused(p.By, p.Reason, time.Since(p.Since)))
	}
	if s.Refused != "" {
		fmt.Fprintf(w, "  takes no builds: %s\n", s.Refused)
	}
	if s.Verbose {
		fmt.Fprintln(w, "  verbose: what Ansible says is in its log")
	}
	if s.Keep {
		fmt.Fprintln(w, "  the folders of builds are kept")
	}
	if len(s.Builds) == 0 {
		fmt.Fprintln(w, "  no builds run")
	}
	for _, b := range s.Builds {
		fmt.Fprintf(w, "  %s  %s of %s, for %s\n", b.Build, b.Job, b.Tenant, brief(time.Since(b.Started)))
	}
}

// awaitEnd returns when an executor has stopped, and tells meanwhile for what it is waited.
func awaitEnd(ctx context.Context, w io.Writer, data string) error {
	told := -1
	for {
		s, err := askExecutor(ctx, data, http.MethodGet, "status", "")
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintln(w, "stopped")
			return nil
		}
		if len(s.Builds) != told {
			told = len(s.Builds)
			fmt.Fprintf(w, "waiting for %d builds\n", told)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}
