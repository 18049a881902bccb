// Package web holds the page: its source, and the build of it that is compiled into the program. The
// build is made by `npm ci && npm run build` and is not kept in git; without it the program compiles
// all the same, and shows how to get the page in its place.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

//go:embed placeholder
var placeholder embed.FS

// Files is the built page with index.html at its root, or the placeholder where it was not built.
func Files() fs.FS {
	root, folder := dist, "dist"
	if !Built() {
		root, folder = placeholder, "placeholder"
	}
	files, err := fs.Sub(root, folder)
	if err != nil {
		panic("web: " + err.Error()) // both are valid paths
	}
	return files
}

// Built tells whether Files is the real page.
func Built() bool {
	_, err := fs.Stat(dist, "dist/index.html")
	return err == nil
}
