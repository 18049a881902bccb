package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A fixture that a change brings again has the secrets that the repository has already.
func TestEqualCipherTextsStayEqual(t *testing.T) {
	dir := t.TempDir()
	cipher := strings.Repeat("Zm9v", 20)
	sum := sha256.Sum256([]byte(cipher))
	table := fmt.Sprintf("{%q: %q}", hex.EncodeToString(sum[:]), "opened")
	if err := os.WriteFile(filepath.Join(dir, "secrets-clear.json"), []byte(table), 0o644); err != nil {
		t.Fatal(err)
	}
	text := "password: !encrypted/pkcs1-oaep\n  - " + cipher + "\n"
	first, err := reencrypt(dir, text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := reencrypt(dir, text)
	if err != nil {
		t.Fatal(err)
	}
	if first == text || first != again {
		t.Errorf("the same cipher text became\n%s\nand\n%s", first, again)
	}
}
