package gatetest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/store"
	"github.com/gozer-ci/gozer/internal/tenant"
)

// settleTime bounds how long the system may take until nothing can happen any more.
const settleTime = 90 * time.Second

// Settle waits until nothing can happen any more without the test doing something. It is an error, which
// says what is still under way, if that takes longer than 90 seconds, if a worker ended, or if something
// was set aside that could not be processed.
func (s *System) Settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	s.Builds.settling(true)
	defer s.Builds.settling(false)
	for {
		why, err := s.pending(ctx, false)
		if err != nil || why == "" {
			return err
		}
		select {
		case <-s.change:
		case <-ctx.Done():
			return fmt.Errorf("the system does not settle: %s", why)
		}
	}
}

// pending tells what keeps the system from being settled, from one revision of the store. The scripted
// workers are asked before and after: what they hold back must be the same at both times. With free, builds
// that are free to end count as held: what else goes on?
func (s *System) pending(ctx context.Context, free bool) (string, error) {
	s.mu.Lock()
	err := s.failed
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	held, before := s.held(free)
	r, err := s.kv.Range(ctx, kv.Query{Prefix: "/dead/"})
	if err != nil {
		return "", err
	}
	if len(r.KVs) > 0 {
		return "", fmt.Errorf("%s was set aside: %s", r.KVs[0].Key, r.KVs[0].Value)
	}
	look := func(prefix string) ([]string, error) {
		x, err := s.kv.Range(ctx, kv.Query{Prefix: prefix, Rev: r.Rev, KeysOnly: true})
		if err != nil {
			return nil, err
		}
		var keys []string
		for _, e := range x.KVs {
			keys = append(keys, e.Key)
		}
		return keys, nil
	}
	for _, prefix := range []string{"/event/", "/inbox/"} {
		if keys, err := look(prefix); err != nil || len(keys) > 0 {
			return strings.Join(keys, " "), err
		}
	}
	requests, err := look("/request/")
	if err != nil {
		return "", err
	}
	there := map[string]bool{}
	for _, k := range requests {
		there[k] = true
		if !held[k] {
			return k, nil
		}
		delete(held, k)
	}
	for k := range held {
		if strings.HasPrefix(k, "/request/") {
			return k + " was withdrawn", nil
		}
	}
	signals, err := look("/signal/")
	if err != nil {
		return "", err
	}
	for _, k := range signals {
		// A signal that came after its request had ended means nothing.
		request, word := strings.Replace(path.Dir(k), "/signal/", "/request/", 1), path.Base(k)
		if there[request] && !held[k] && (word == store.SignalCancel || word == store.SignalResume) {
			return k, nil
		}
	}
	if why, err := s.unread(look); err != nil || why != "" {
		return why, err
	}
	if _, after := s.held(free); after != before {
		return "the workers go on", nil
	}
	return "", nil
}

// unread tells which tenant has no layout yet.
func (s *System) unread(look func(string) ([]string, error)) (string, error) {
	keys, err := look(tenant.RecordPrefix)
	if err != nil {
		return "", err
	}
	for _, t := range s.Tenants.Names() {
		if !slices.Contains(keys, tenant.RecordPrefix+url.PathEscape(t)) {
			return "the configuration of tenant " + t, nil
		}
	}
	return "", nil
}

// held lists the keys of the requests that the scripted workers keep, and of the words to them that they
// heard, and counts what they did so far.
func (s *System) held(free bool) (map[string]bool, int) {
	out := map[string]bool{}
	return out, s.Builds.parked(out, free) + s.Nodes.parked(out)
}

func requestKey(kind, id string) string { return store.RequestPrefix(kind) + url.PathEscape(id) }

func signalKey(kind, id, word string) string {
	return store.SignalPrefix(kind) + url.PathEscape(id) + "/" + word
}

// Pipeline is the state of a pipeline as it is now.
func (s *System) Pipeline(ctx context.Context, tenant, name string) (*pipeline.State, error) {
	rec, err := s.Tenants.Record(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(rec.Pipelines, name) {
		return nil, fmt.Errorf("tenant %s has no pipeline %s", tenant, name)
	}
	st, _, err := s.Store.LoadPipeline(ctx, tenant, name)
	return st, err
}

var errStopped = errors.New("the system was stopped")
