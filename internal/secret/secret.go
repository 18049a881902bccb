// Package secret holds the cryptography of project secrets, compatible with Zuul's: an RSA key pair for
// each project, values encrypted chunk by chunk with OAEP (SHA-1, Zuul's pkcs1-oaep), the YAML that
// people paste into zuul.yaml, and the file format in which keys are exported and imported. It stores
// nothing: whoever keeps the keys hands them in.
package secret

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // the scheme's hash; OAEP does not depend on its collision resistance
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// Keys finds the private key of a project's secrets.
type Keys interface {
	SecretsKey(ctx context.Context, p change.Project) (*rsa.PrivateKey, error)
}

// ErrNotEncrypted is returned for a value that is no cipher text of the key.
var ErrNotEncrypted = errors.New("the value was not encrypted with this project's key")

// ChunkSize is how many bytes one chunk can hold: 470 with the usual 4096 bits.
func ChunkSize(pub *rsa.PublicKey) int { return pub.Size() - 2*sha1.Size - 2 }

// Encrypt encrypts a value of any length: base64 texts, one for each chunk.
func Encrypt(pub *rsa.PublicKey, plain []byte) ([]string, error) {
	size := ChunkSize(pub)
	if size <= 0 {
		return nil, fmt.Errorf("encrypt with a key of %d bits: it is too short", pub.Size()*8)
	}
	var out []string
	for first := true; first || len(plain) > 0; first = false {
		n := min(size, len(plain))
		c, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, pub, plain[:n], nil)
		if err != nil {
			return nil, fmt.Errorf("encrypt %d bytes: %w", n, err)
		}
		out = append(out, base64.StdEncoding.EncodeToString(c))
		plain = plain[n:]
	}
	return out, nil
}

// Decrypt is the value that chunks stand for.
func Decrypt(key *rsa.PrivateKey, chunks []string) ([]byte, error) {
	var out []byte
	for i, c := range chunks {
		raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(c), ""))
		if err != nil {
			return nil, fmt.Errorf("chunk %d of %d: %w", i+1, len(chunks), err)
		}
		plain, err := rsa.DecryptOAEP(sha1.New(), nil, key, raw, nil)
		if err != nil {
			return nil, fmt.Errorf("chunk %d of %d: %w", i+1, len(chunks), ErrNotEncrypted)
		}
		out = append(out, plain...)
	}
	return out, nil
}

// Open decrypts all encrypted leaves of a secret that is bound to a playbook. The result shares nothing
// with s.
func Open(ctx context.Context, keys Keys, s job.Secret) (any, error) {
	key, err := keys.SecretsKey(ctx, s.Owner)
	if err != nil {
		return nil, fmt.Errorf("open secret %s of %s: %w", s.Name, s.Owner, err)
	}
	v, err := OpenData(key, s.Data)
	if err != nil {
		return nil, fmt.Errorf("open secret %s of %s: %w", s.Name, s.Owner, err)
	}
	return v, nil
}

// OpenData is data with every encrypted leaf (see job.EncryptedKey) replaced by its clear text.
func OpenData(key *rsa.PrivateKey, data any) (any, error) {
	switch v := data.(type) {
	case map[string]any:
		if chunks, ok := Encrypted(v); ok {
			plain, err := Decrypt(key, chunks)
			if err != nil {
				return nil, err
			}
			if !utf8.Valid(plain) {
				return nil, errors.New("the clear text is not UTF-8")
			}
			return string(plain), nil
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			o, err := OpenData(key, e)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			out[k] = o
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			o, err := OpenData(key, e)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			out[i] = o
		}
		return out, nil
	}
	return data, nil
}

// Has tells whether some leaf of data is encrypted.
func Has(data any) bool {
	switch v := data.(type) {
	case map[string]any:
		if _, ok := Encrypted(v); ok {
			return true
		}
		for _, e := range v {
			if Has(e) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, Has)
	}
	return false
}

// Encrypted gives the chunks of an encrypted leaf; not ok, where v is a plain dictionary.
func Encrypted(v map[string]any) (chunks []string, ok bool) {
	raw, ok := v[job.EncryptedKey]
	if !ok || len(v) != 1 {
		return nil, false
	}
	switch list := raw.(type) {
	case []string:
		return list, true
	case []any:
		for _, c := range list {
			s, isText := c.(string)
			if !isText {
				return nil, false
			}
			chunks = append(chunks, s)
		}
		return chunks, true
	}
	return nil, false
}

// wrap is the width of a line of base64 in YAML.
const wrap = 64

// YAML is a secret with one encrypted field, ready to be pasted into zuul.yaml.
func YAML(name, field string, chunks []string) string {
	return fmt.Sprintf("- secret:\n    name: %s\n    data:\n", scalar(name)) + Field(field, chunks)
}

// Field is one encrypted field, indented as it stands in the data of a secret.
func Field(field string, chunks []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "      %s: !encrypted/pkcs1-oaep\n", scalar(field))
	for _, c := range chunks {
		for i := 0; i < len(c); i += wrap {
			lead := "          "
			if i == 0 {
				lead = "        - "
			}
			b.WriteString(lead + c[i:min(i+wrap, len(c))] + "\n")
		}
	}
	return b.String()
}

// scalar quotes a YAML scalar where it is not a plain word.
func scalar(s string) string {
	plain := s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.' || r == '/')
	}) < 0
	word := plain && (s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z')
	switch strings.ToLower(s) {
	case "yes", "no", "on", "off", "true", "false", "null", "y", "n":
		word = false
	}
	if word {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
