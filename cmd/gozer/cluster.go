package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/demo/cluster"
)

func clusterCommand() *cobra.Command {
	var dir string
	var lease time.Duration
	cmd := &cobra.Command{
		Use: "cluster", Short: "Run a Gozer of many processes on this machine", GroupID: "server", Args: cobra.NoArgs,
		Example: "  gozer cluster\n  gozer cluster chaos --for 2m\n  gozer cluster failover --kills 5",
		Long: `Starts three schedulers, two mergers, two executors, two webs, a three-member etcd and a PostgreSQL on this
machine, with a tenant to try them on, until Ctrl-C. Kill what you like: nothing is lost.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, stop, err := startCluster(cmd, dir, lease)
			if err != nil {
				return err
			}
			defer stop()
			fmt.Fprintf(cmd.OutOrStdout(), `
The cluster runs until Ctrl-C. Now you:

  gozer status --components --server %[1]s
  git clone %[2]s && cd one && (change something) && git commit -a && git push origin HEAD:refs/for/main
  gozer change --forge %[1]s/forge/local vote NUMBER Approved 1
  kill -9 $(pgrep -f 'roles scheduler,history' | head -1)

Logs and configuration of each process: %[3]s
`, k.Pages[0], k.Repository("one"), k.Dir)
			<-cmd.Context().Done()
			fmt.Fprintln(cmd.OutOrStdout(), "\nstopping")
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder for everything (a new one, removed at the end)")
	cmd.Flags().DurationVar(&lease, "lease", 4*time.Second, "how long the claims of a process that died hold")
	cmd.AddCommand(chaosCommand(), failoverCommand())
	return cmd
}

// startCluster starts a cluster of this very program; stop ends it, and removes its folder if nobody named one.
func startCluster(cmd *cobra.Command, dir string, lease time.Duration) (*cluster.Cluster, func(), error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	remove := func() {}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "gozer-cluster-"); err != nil {
			return nil, nil, err
		}
		remove = func() { _ = os.RemoveAll(dir) }
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, nil, err
	}
	out, began := cmd.OutOrStdout(), time.Now()
	k, err := cluster.Start(cmd.Context(), cluster.Config{Program: program, Dir: dir, Lease: lease, Say: func(format string, args ...any) {
		fmt.Fprintf(out, "%5.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}})
	if err != nil {
		remove()
		return nil, nil, fmt.Errorf("start the cluster: %w", err)
	}
	return k, func() {
		if err := k.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "gozer: stop the cluster:", strings.TrimSpace(err.Error()))
		}
		remove()
	}, nil
}
