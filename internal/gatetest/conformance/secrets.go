package conformance

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/secret"
)

// key is the one key pair of all projects. Its size only has to hold the secrets of the fixtures.
var key = sync.OnceValues(func() (*rsa.PrivateKey, error) { return secret.Generate(secret.Secrets, 2048) })

// ring gives every project the same key.
type ring struct{}

func (ring) SecretsKey(context.Context, change.Project) (*rsa.PrivateKey, error) { return key() }

// block is a cipher text as YAML has it: lines of base64, the first of them long.
var block = regexp.MustCompile(`(?m)^([ \t]+(?:- )*)[A-Za-z0-9+/=]{40,}$(?:\n[ \t]+[A-Za-z0-9+/=]+$)*`)

// marker is the tag of an encrypted value.
const marker = "!encrypted/"

// sealed are the new cipher texts by the hash of the old ones: what was equal stays equal, wherever it is used again.
var sealed sync.Map

// reencrypt replaces the cipher texts of a fixture by ones made with the key at hand.
func reencrypt(fixtures, text string) (string, error) {
	if !strings.Contains(text, marker) {
		return text, nil
	}
	clear, err := clearTexts(fixtures)
	if err != nil {
		return "", err
	}
	k, err := key()
	if err != nil {
		return "", err
	}
	out := block.ReplaceAllStringFunc(text, func(m string) string {
		indent := block.FindStringSubmatch(m)[1]
		sum := sha256.Sum256([]byte(strings.Join(strings.Fields(strings.TrimPrefix(m, indent)), "")))
		plain, ok := clear[hex.EncodeToString(sum[:])]
		if !ok {
			return m
		}
		if old, ok := sealed.Load(sum); ok {
			return indent + old.(string)
		}
		chunks, eerr := secret.Encrypt(&k.PublicKey, []byte(plain))
		if eerr == nil && len(chunks) != 1 {
			eerr = fmt.Errorf("a clear text of %d bytes is too long for one chunk", len(plain))
		}
		if eerr != nil {
			err = errors.Join(err, eerr)
			return m
		}
		now, _ := sealed.LoadOrStore(sum, chunks[0])
		return indent + now.(string)
	})
	return out, err
}

// clearTexts reads the table of clear texts by the hash of their cipher texts.
func clearTexts(fixtures string) (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(fixtures, "secrets-clear.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	return out, json.Unmarshal(b, &out)
}
