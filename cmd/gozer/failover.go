package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

func failoverCommand() *cobra.Command {
	var kills int
	var lease time.Duration
	cmd := &cobra.Command{
		Use: "failover", Short: "Measure in such a cluster how long it takes until another scheduler goes on", Args: cobra.NoArgs,
		Example: "  gozer cluster failover --kills 5",
		Long: `Kills the scheduler that owns a pipeline, and measures the time until another one hands out the next build of it:
the lease runs out, somebody takes over and reads the state, and a change goes through merge and layout.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, stop, err := startCluster(cmd, "", lease)
			if err != nil {
				return err
			}
			defer stop()
			all, err := k.Failover(cmd.Context(), kills)
			if err != nil {
				return err
			}
			slices.Sort(all)
			fmt.Fprintf(cmd.OutOrStdout(), "\nscheduler killed to next dispatch by another, %d kills, lease %v, three-member etcd, %d processors:\n  p50 %v  p99 %v  longest %v\n",
				len(all), lease, runtime.NumCPU(), all[len(all)/2].Round(time.Millisecond), all[(len(all)*99+99)/100-1].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond))
			return nil
		},
	}
	cmd.Flags().IntVar(&kills, "kills", 30, "how many times")
	cmd.Flags().DurationVar(&lease, "lease", 2*time.Second, "how long the claims of a process that died hold")
	return cmd
}
