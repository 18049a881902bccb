package main

import (
	"os"
	"path/filepath"
)

// cacheDir is where what can be made again is kept: $GOZER_CACHE, else the user's cache folder.
func cacheDir() string {
	if d := os.Getenv("GOZER_CACHE"); d != "" {
		return d
	}
	d, err := os.UserCacheDir()
	if err != nil {
		d = os.TempDir()
	}
	return filepath.Join(d, "gozer")
}

func defaultAnsibleDir() string { return filepath.Join(cacheDir(), "ansible") }
