package store

import (
	"testing"
	"testing/synctest"
	"time"
)

// A worker remembers nothing of requests that were withdrawn while it worked on them: there is no end to those.
func TestRequestsThatAreGoneAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a moment is a moment, however busy the machine is
		sv := &server{requests: map[string]*waiting{"here": {name: "here"}}, pauses: map[string]pause{}, kick: make(chan struct{}, 1)}
		for range 3 {
			sv.pauseFor("here")
			sv.pauseFor("gone")
			sv.yieldOn("gone")
		}
		if len(sv.pauses) != 1 || sv.pauses["here"].tries != 3 || time.Until(sv.pauses["here"].until) < 100*time.Millisecond {
			t.Errorf("remembered is %v", sv.pauses)
		}
	})
}
