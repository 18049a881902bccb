package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/settings"
)

func serverCommand() *cobra.Command {
	var file, listen string
	var roles, join []string
	cmd := &cobra.Command{
		Use: "server --config FILE", Short: "Run roles of Gozer", GroupID: "server", Args: cobra.NoArgs,
		Long: `Runs roles of Gozer until it is told to stop (SIGINT, SIGTERM), all of them by default. Work in
progress is finished or given back; the next start goes on where this one was.

Roles: ` + strings.Join(allRoles, ", ") + `. Several processes share the work when they have the
same store: an external etcd (store: {etcd: {endpoints: [...]}}), or the etcd inside one or more of them
(store: {member: {clients: ADDRESS, peers: ADDRESS}}), which --join makes one cluster.`,
		Example: "  gozer server --config gozer.yaml\n  gozer server --config gozer.yaml --roles scheduler,web\n" +
			"  gozer server --config second.yaml --join 10.0.0.1:2379",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return fmt.Errorf("name the configuration with --config FILE; docs/guide.md has one to start from")
			}
			set, err := settings.Read(file)
			if err != nil {
				return err
			}
			if listen != "" {
				set.Listen, set.Root = listen, ""
				if err := set.Finish("."); err != nil {
					return err
				}
			}
			if len(join) > 0 {
				if set.Store.Member == nil {
					return fmt.Errorf("--join needs to know where the others reach this member: store: {member: {name: NAME, clients: IP:PORT, peers: IP:PORT}} in %s", file)
				}
				set.Store.Member.Join = join
				if err := set.Finish("."); err != nil {
					return err
				}
			}
			for _, r := range roles {
				if !slices.Contains(allRoles, r) {
					return fmt.Errorf("there is no role %q; there are %s", r, strings.Join(allRoles, ", "))
				}
			}
			if len(roles) == 0 {
				roles = allRoles
			}
			log := newLogger(os.Stderr, set.Log)
			return serve(cmd.Context(), set, roles, log, func(*process) {
				log.Info("ready", "page", set.Root, "roles", strings.Join(roles, ","), "data", set.Data)
			})
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration of the process")
	cmd.Flags().StringVar(&listen, "listen", "", "address for HTTP, in place of the configured one")
	cmd.Flags().StringSliceVar(&join, "join", nil, "client addresses of members of the cluster that the store of this process joins")
	cmd.Flags().StringSliceVar(&roles, "roles", nil, "roles of this process (all)")
	return cmd
}

// serve opens a process and runs it until ctx ends.
func serve(ctx context.Context, set *settings.Settings, roles []string, log *slog.Logger, started func(*process)) error {
	p, err := open(ctx, set, roles, log)
	if err != nil {
		return err
	}
	defer p.close()
	if set.Executor.Sigterm == "graceful" && slices.Equal(roles, onlyExecutor) {
		asked := ctx
		ctx = context.WithoutCancel(ctx)
		defer context.AfterFunc(asked, p.drain)()
	}
	return p.run(ctx, func() {
		if started != nil {
			started(p)
		}
	})
}

func newLogger(w io.Writer, c settings.Log) *slog.Logger {
	level := map[string]slog.Level{"debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError}[c.Level]
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			a.Value = slog.StringValue(a.Value.Time().UTC().Format(time.RFC3339))
		}
		return a
	}}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
