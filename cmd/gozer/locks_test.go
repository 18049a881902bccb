package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/api"
)

func TestShowLocks(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	ago := func(m int) time.Time { return now.Add(-time.Duration(m) * time.Minute) }
	var out bytes.Buffer
	showLocks(&out, []api.Lock{
		{Name: "production", Now: now, Use: 0.62, Pipelines: []api.LockUse{{Pipeline: "deploy", Precedence: "high"}, {Pipeline: "hourly", Precedence: "low"}},
			Past:    []api.LockHeld{{Pipeline: "deploy", From: ago(60), To: ago(40)}},
			Holder:  &api.LockParty{Pipeline: "deploy", Buildset: "b1", Since: ago(17), Ends: now.Add(3 * time.Minute), Refs: []api.Ref{{Project: "org/app", ID: "6,1", Title: "Serve the wiki"}}},
			Waiting: []api.LockParty{{Pipeline: "hourly", Buildset: "b2", Since: ago(5), Precedence: "low"}}},
		{Name: "staging", Now: now, Pipelines: []api.LockUse{{Pipeline: "stage", Precedence: "normal"}}},
	})
	want := `production: shared by deploy (high), hourly (low)
  held by org/app 6,1 Serve the wiki in deploy (buildset b1) for 17m0s, for about 3m0s more
  1. in line: a buildset that has left in hourly (buildset b2), precedence low, waits for 5m0s
  held for 62 % of the last 1h0m
staging: shared by stage (normal)
  free
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}
