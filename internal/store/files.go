package store

import (
	"github.com/gozer-ci/gozer/internal/change"
)

// FilesBranch is one branch whose files are wanted. Commit is the head that the forge told (empty: as
// the merger finds it). Paths with a slash at the end are directories, read whole.
type FilesBranch struct {
	Project change.Project `json:"project"`
	Branch  string         `json:"branch"`
	Commit  string         `json:"commit,omitempty"`
	Paths   []string       `json:"paths"`
}

// FilesAnswer has one entry for each branch asked for, in order.
type FilesAnswer struct {
	Branches []Files `json:"branches"`
}

// Files are configuration files of one branch at one commit: text by path. Error says why they could
// not be read; the rest of the answer holds all the same.
type Files struct {
	Project change.Project    `json:"project"`
	Branch  string            `json:"branch"`
	Commit  string            `json:"commit"`
	Files   map[string]string `json:"files,omitempty"`
	Error   string            `json:"error,omitempty"`
}
