package pipeline

import (
	"slices"
	"testing"

	"github.com/gozer-ci/gozer/internal/job"
)

// A playbook whose executor is gone lets nothing go by itself: the end of its build does.
func TestPlaybooksOfALostExecutorLetGo(t *testing.T) {
	j := &job.Job{ID: "j", Run: []job.Playbook{{Semaphores: []string{"mine", "others"}}}, PostRun: []job.Playbook{{Semaphores: []string{"mine"}}}}
	it := &Item{Buildset: &Buildset{ID: "b1", Jobs: map[job.ID]*JobState{"j": {}}}}
	st := &stepper{s: &State{}, sem: &Semaphores{Holders: map[string][]Holder{
		"mine":   {{Buildset: "b1", Job: "j"}},
		"others": {{Buildset: "b2", Job: "j"}, {Buildset: "b1", Job: "k"}},
	}}}
	st.releaseSemaphores(it, j)
	if len(st.sem.Holders["mine"]) > 0 || len(st.sem.Holders["others"]) != 2 {
		t.Errorf("held: %v", st.sem.Holders)
	}
	if !slices.Equal(st.released, []string{"mine"}) {
		t.Errorf("told as released: %v", st.released)
	}
}
