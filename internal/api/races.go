package api

import "github.com/gozer-ci/gozer/internal/deps"

// Races is what is known of a buildset whose pipeline is observed.
type Races struct {
	Buildset string `json:"buildset"`
	// Observed are the jobs of which it is known what they did, Missing those of which it is not.
	Observed []string    `json:"observed"`
	Missing  []string    `json:"missing"`
	Races    []deps.Race `json:"races"`
}
