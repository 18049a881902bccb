package ansible

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gozer-ci/gozer/ansible"
)

// Plugins writes the Python that Gozer brings below dir, in a folder named for its content, and gives
// that folder. It may be called by many at once and any number of times.
func Plugins(dir string) (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(ansible.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := ansible.Files.ReadFile(path)
		fmt.Fprintf(sum, "%s %d\n", path, len(b))
		sum.Write(b)
		return err
	})
	if err != nil {
		return "", err
	}
	to := filepath.Join(dir, "plugins-"+hex.EncodeToString(sum.Sum(nil))[:16])
	if _, err := os.Stat(to); err == nil {
		return to, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(dir, ".plugins-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := os.CopyFS(tmp, ansible.Files); err != nil {
		return "", err
	}
	// Somebody else may have been faster; what is there is the same.
	if err := os.Rename(tmp, to); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return to, nil
}
