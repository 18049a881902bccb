package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gozer-ci/gozer/internal/demo/cluster"
)

func chaosCommand() *cobra.Command {
	var dir string
	var lease time.Duration
	c := cluster.Chaos{}
	cmd := &cobra.Command{
		Use: "chaos", Short: "Let everything go wrong in such a cluster, and look whether anything was lost", Args: cobra.NoArgs,
		Example: "  gozer cluster chaos --for 2m\n  gozer cluster chaos --seed 7",
		Long: `Starts a cluster as "gozer cluster" does, and lets people propose and approve changes in real git repositories
while schedulers, executors, mergers and members of etcd are killed, paused (also for longer than their lease)
and restarted. Then everything is healed, and repositories, forge and history are compared: every approved
change has landed or was refused, once; what landed is the very commit that was tested; nothing is left over.

Exit code 1: something did not hold.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, stop, err := startCluster(cmd, dir, lease)
			if err != nil {
				return err
			}
			defer stop()
			c.Cluster = k
			if c.Seed == 0 {
				c.Seed = uint64(os.Getpid())
			}
			fmt.Fprintf(cmd.OutOrStdout(), "chaos for %v, seed %d\n", c.For, c.Seed)
			v, err := c.Run(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "\n%s", v)
			if !v.Good() {
				return exitError{code: exitNo}
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&c.For, "for", 5*time.Minute, "how long things go wrong")
	cmd.Flags().Uint64Var(&c.Seed, "seed", 0, "decides what goes wrong, and when (another one each time)")
	cmd.Flags().StringVar(&dir, "dir", "", "folder for everything (a new one, removed at the end)")
	cmd.Flags().DurationVar(&lease, "lease", 4*time.Second, "how long the claims of a process that died hold")
	return cmd
}
