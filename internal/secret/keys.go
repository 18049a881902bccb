package secret

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/change"
)

// The sizes of a project's keys, as Zuul makes them.
const (
	SecretsBits = 4096
	SSHBits     = 2048
)

// Kind tells the two key pairs of a project apart.
type Kind string

// The secrets key decrypts secrets; the SSH key is given to jobs of post-review pipelines.
const (
	Secrets Kind = "secrets"
	SSH     Kind = "ssh"
)

// Generate makes a key pair. Bits 0 asks for the size that the kind has.
func Generate(kind Kind, bits int) (*rsa.PrivateKey, error) {
	if bits == 0 {
		bits = SecretsBits
		if kind == SSH {
			bits = SSHBits
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, fmt.Errorf("generate a %s key of %d bits: %w", kind, bits, err)
	}
	return key, nil
}

// PublicPEM is a public key as the API serves it.
func PublicPEM(pub *rsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// ParsePublicPEM reads what PublicPEM writes.
func ParsePublicPEM(data []byte) (*rsa.PublicKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("read public key: no PEM block")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	pub, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("read public key: it is %T, not RSA", key)
	}
	return pub, nil
}

// AuthorizedKey is a project's public SSH key in the form of authorized_keys.
func AuthorizedKey(pub *rsa.PublicKey, comment string) (string, error) {
	k, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("encode SSH key: %w", err)
	}
	return strings.TrimSpace(strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))) + " " + comment), nil
}

// PrivatePEM is a private key in the traditional form, encrypted with the password where there is one.
// Zuul's key store needs this form, so its weak key derivation cannot be avoided: the password should
// be long and random.
func PrivatePEM(key *rsa.PrivateKey, password string) ([]byte, error) {
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	if password != "" {
		var err error
		//nolint:staticcheck // the format of Zuul's key store
		block, err = x509.EncryptPEMBlock(rand.Reader, block.Type, block.Bytes, []byte(password), x509.PEMCipherAES256)
		if err != nil {
			return nil, fmt.Errorf("encrypt private key: %w", err)
		}
	}
	return pem.EncodeToMemory(block), nil
}

// ErrPassword is returned when a private key cannot be opened with the password.
var ErrPassword = errors.New("the password does not open the key")

// ParsePrivatePEM reads a private key in traditional, PKCS#8 or OpenSSH form. The password counts only
// where the key is encrypted.
func ParsePrivatePEM(data []byte, password string) (*rsa.PrivateKey, error) {
	key, err := ssh.ParseRawPrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		key, err = ssh.ParseRawPrivateKeyWithPassphrase(data, []byte(password))
		if errors.Is(err, x509.IncorrectPasswordError) {
			return nil, fmt.Errorf("read private key: %w", ErrPassword)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	priv, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read private key: it is %T, not RSA", key)
	}
	return priv, nil
}

// Stored is one key pair of a project as it is kept and exported: the newest version last.
type Stored struct {
	Project change.Project
	Kind    Kind
	Keys    []Version
}

// Version is one generation of a key, still encrypted with the key store's password.
type Version struct {
	Version    int    `json:"version"`
	Created    int64  `json:"created"`
	PrivateKey string `json:"private_key"`
}

// NewStored is the first version of a key, made at the given time.
func NewStored(p change.Project, kind Kind, key *rsa.PrivateKey, password string, at time.Time) (Stored, error) {
	text, err := PrivatePEM(key, password)
	if err != nil {
		return Stored{}, err
	}
	return Stored{Project: p, Kind: kind, Keys: []Version{{0, at.Unix(), string(text)}}}, nil
}

// Open is the private key in force: the first version, as Zuul has it.
func (s *Stored) Open(password string) (*rsa.PrivateKey, error) {
	if len(s.Keys) == 0 {
		return nil, fmt.Errorf("the %s key of %s: there is no version", s.Kind, s.Project)
	}
	key, err := ParsePrivatePEM([]byte(s.Keys[0].PrivateKey), password)
	if err != nil {
		return nil, fmt.Errorf("the %s key of %s: %w", s.Kind, s.Project, err)
	}
	return key, nil
}

// Locked tells whether the keys are encrypted with some password.
func (s *Stored) Locked() bool {
	for _, v := range s.Keys {
		block, _ := pem.Decode([]byte(v.PrivateKey))
		if block == nil {
			return true // whatever it is, it is not plain
		}
		//nolint:staticcheck // the format of Zuul's key store
		if !x509.IsEncryptedPEMBlock(block) && block.Type != "ENCRYPTED PRIVATE KEY" {
			return false
		}
	}
	return true
}

// Lock is s with its plain keys encrypted with the password.
func (s *Stored) Lock(password string) (Stored, error) {
	out := *s
	out.Keys = slices.Clone(s.Keys)
	for i, v := range out.Keys {
		one := Stored{Project: s.Project, Kind: s.Kind, Keys: []Version{v}}
		if one.Locked() {
			continue
		}
		key, err := one.Open("")
		if err != nil {
			return out, err
		}
		text, err := PrivatePEM(key, password)
		if err != nil {
			return out, err
		}
		out.Keys[i].PrivateKey = string(text)
	}
	return out, nil
}

// keyRoot is where Zuul keeps keys in ZooKeeper; exports name keys by these paths.
const keyRoot = "/keystorage/"

// path is /keystorage/CONNECTION/PREFIX/PROJECT/KIND, the prefix being the first part of the name.
func (s *Stored) path() string {
	prefix, _, _ := strings.Cut(s.Project.Name, "/")
	return keyRoot + strings.Join([]string{s.Project.Connection, prefix, url.QueryEscape(s.Project.Name), string(s.Kind)}, "/")
}

// file is the export format: keys by path.
type file struct {
	Keys map[string]entry `json:"keys"`
}

type entry struct {
	Schema int       `json:"schema,omitempty"`
	Keys   []Version `json:"keys"`
}

// Export writes keys in the format of `zuul-admin export-keys`. They stay encrypted.
func Export(w io.Writer, keys []Stored) error {
	f := file{Keys: make(map[string]entry, len(keys))}
	for _, k := range keys {
		f.Keys[k.path()] = entry{1, k.Keys}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(f); err != nil {
		return fmt.Errorf("export %d keys: %w", len(keys), err)
	}
	return nil
}

// Import reads what Export or `zuul-admin export-keys` wrote, sorted by path. The host of a project is
// not in that format: the caller knows it by the connection.
func Import(r io.Reader) ([]Stored, error) {
	var f file
	if err := json.NewDecoder(r).Decode(&f); err != nil {
		return nil, fmt.Errorf("import keys: %w", err)
	}
	var out []Stored
	for _, path := range slices.Sorted(maps.Keys(f.Keys)) {
		e := f.Keys[path]
		parts := strings.Split(strings.TrimPrefix(path, keyRoot), "/")
		if !strings.HasPrefix(path, keyRoot) || len(parts) != 4 {
			return nil, fmt.Errorf("import keys: %q is not the path of a key", path)
		}
		name, err := url.QueryUnescape(parts[2])
		if err != nil {
			return nil, fmt.Errorf("import keys: %q: %w", path, err)
		}
		kind := Kind(parts[3])
		if kind != Secrets && kind != SSH {
			return nil, fmt.Errorf("import keys: %q: a key is of kind secrets or ssh", path)
		}
		slices.SortFunc(e.Keys, func(a, b Version) int { return cmp.Compare(a.Version, b.Version) })
		out = append(out, Stored{Project: change.Project{Connection: parts[0], Name: name}, Kind: kind, Keys: e.Keys})
	}
	return out, nil
}
