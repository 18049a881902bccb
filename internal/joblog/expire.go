package joblog

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"
)

// Retention says what is kept of finished builds; zero values are no bound.
type Retention struct {
	// Keep is for how long; Max, how many bytes at most: the oldest go first.
	Keep time.Duration
	Max  int64
}

// Expired is what Expire did.
type Expired struct {
	Builds int
	Bytes  int64
	// Left is what is still kept, in bytes.
	Left int64
}

// keptBuild is what is kept of one build.
type keptBuild struct {
	build string
	size  int64
	newer time.Time
}

// Expire removes what is kept of builds longer than it should be. What else is in the bucket stays.
func (l *Logs) Expire(ctx context.Context, r Retention) (Expired, error) {
	all, err := l.allKept(ctx)
	if err != nil {
		return Expired{}, err
	}
	var out Expired
	for _, b := range all {
		out.Left += b.size
	}
	slices.SortFunc(all, func(a, b keptBuild) int { return cmp.Or(a.newer.Compare(b.newer), cmp.Compare(a.build, b.build)) })
	for _, b := range all {
		old := r.Keep > 0 && l.cfg.Now().Sub(b.newer) > r.Keep
		if !old && (r.Max == 0 || out.Left <= r.Max) {
			break // those that follow are newer
		}
		if err := l.Remove(ctx, b.build); err != nil {
			return out, err
		}
		out.Builds++
		out.Bytes += b.size
		out.Left -= b.size
	}
	return out, nil
}

func (l *Logs) allKept(ctx context.Context) ([]keptBuild, error) {
	found := map[string]*keptBuild{}
	it := l.cfg.Bucket.List(&blob.ListOptions{})
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		p := strings.Split(o.Key, "/")
		if len(p) != 3 || checkBuild(p[1]) != nil || blobName(p[1], p[2]) != o.Key {
			continue
		}
		b := found[p[1]]
		if b == nil {
			b = &keptBuild{build: p[1]}
			found[p[1]] = b
		}
		b.size += o.Size
		if o.ModTime.After(b.newer) {
			b.newer = o.ModTime
		}
	}
	out := make([]keptBuild, 0, len(found))
	for _, b := range found {
		out = append(out, *b)
	}
	return out, nil
}
