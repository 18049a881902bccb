package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// join announces a new member to the cluster of c.Join, as a learner: it has no vote before it
// has caught up, so that a member which never comes up stops nobody. It tells whether the member
// still has to be promoted.
func (c EmbedConfig) join(ctx context.Context, cfg *embed.Config) (bool, error) {
	if len(c.Join) == 0 {
		return false, nil
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "member")); err == nil {
		return false, nil // it joined in an earlier life
	}
	if c.PeerAddr == "" || c.Name == "" {
		return false, errors.New("a member that joins a cluster needs a name and a peer address of its own")
	}
	var members []*etcdserverpb.Member
	err := c.withCluster(ctx, func(client *clientv3.Client) (err error) {
		members, err = announce(ctx, client, cfg.AdvertisePeerUrls[0].String(), c.Name)
		return err
	})
	if err != nil {
		return false, err
	}
	var initial []string
	for _, m := range members {
		name := m.Name
		if slices.Contains(m.PeerURLs, cfg.AdvertisePeerUrls[0].String()) {
			name = c.Name
		}
		for _, u := range m.PeerURLs {
			initial = append(initial, name+"="+u)
		}
	}
	cfg.InitialCluster = strings.Join(initial, ",")
	cfg.ClusterState = embed.ClusterStateFlagExisting
	return true, nil
}

// announce adds the peer address to the cluster, unless an earlier attempt did, and tells the
// members that it has then.
func announce(ctx context.Context, client *clientv3.Client, peer, name string) ([]*etcdserverpb.Member, error) {
	list, err := client.MemberList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the members of the cluster: %w", err)
	}
	for _, m := range list.Members {
		switch {
		case m.Name == name:
			return nil, fmt.Errorf("the cluster has a member %q already; if its data is lost, remove it first", name)
		case slices.Contains(m.PeerURLs, peer):
			return list.Members, nil
		}
	}
	var added *clientv3.MemberAddResponse
	// A cluster that has just changed counts as unhealthy for five seconds and takes nobody.
	err = retry(ctx, rpctypes.ErrUnhealthy, func() (err error) {
		added, err = client.MemberAddAsLearner(ctx, []string{peer})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("add %s to the cluster: %w", peer, err)
	}
	return added.Members, nil
}

// retry calls f until it gives another error than passing, or ctx ends.
func retry(ctx context.Context, passing error, f func() error) error {
	for {
		err := f()
		if !errors.Is(err, passing) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// promote gives a member that joined its vote, as soon as it has caught up.
func (c EmbedConfig) promote(ctx context.Context, id uint64) error {
	return c.withCluster(ctx, func(client *clientv3.Client) error {
		err := retry(ctx, rpctypes.ErrMemberLearnerNotReady, func() error {
			_, err := client.MemberPromote(ctx, id)
			return err
		})
		if err != nil && !errors.Is(err, rpctypes.ErrMemberNotLearner) {
			return fmt.Errorf("promote the member %q: %w", c.Name, err)
		}
		return nil
	})
}

// withCluster calls f with a client of the cluster to join.
func (c EmbedConfig) withCluster(ctx context.Context, f func(*clientv3.Client) error) error {
	d := c.JoinDial
	d.Endpoints = c.Join
	client, err := dial(ctx, d)
	if err != nil {
		return fmt.Errorf("join the cluster at %s: %w", strings.Join(c.Join, ", "), err)
	}
	defer client.Close()
	return f(client)
}
