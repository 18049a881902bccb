package secret

import (
	"bytes"
	"context"
	"crypto/rsa"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/job"
)

// testKey is short, so that tests do not wait for primes.
func testKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := Generate(Secrets, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

type oneKey struct{ *rsa.PrivateKey }

func (k oneKey) SecretsKey(context.Context, change.Project) (*rsa.PrivateKey, error) {
	return k.PrivateKey, nil
}

func TestRoundTrip(t *testing.T) {
	key := testKey(t)
	size := ChunkSize(&key.PublicKey)
	if size != 214 {
		t.Fatalf("a chunk of a 2048 bit key holds %d bytes, want 214", size)
	}
	for _, n := range []int{0, 1, size, size + 1, 5*size + 7} {
		plain := bytes.Repeat([]byte("x"), n)
		chunks, err := Encrypt(&key.PublicKey, plain)
		if err != nil {
			t.Fatal(err)
		}
		if want := max(1, (n+size-1)/size); len(chunks) != want {
			t.Errorf("%d bytes make %d chunks, want %d", n, len(chunks), want)
		}
		got, err := Decrypt(key, chunks)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
	}
}

func TestChunkSizeOfUsualKey(t *testing.T) {
	key, err := Generate(Secrets, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := ChunkSize(&key.PublicKey); got != 470 {
		t.Errorf("a chunk holds %d bytes, want 470", got)
	}
}

func TestOtherKey(t *testing.T) {
	chunks, err := Encrypt(&testKey(t).PublicKey, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decrypt(testKey(t), chunks); !errors.Is(err, ErrNotEncrypted) {
		t.Errorf("a key opens another one's secret: %v", err)
	}
	if _, err := Decrypt(testKey(t), []string{"no base64!"}); err == nil {
		t.Error("text that is no base64 is accepted")
	}
}

// What YAML writes is read by config and opened again, with values of any depth.
func TestPasteAndOpen(t *testing.T) {
	key := testKey(t)
	long := strings.Repeat("a long password ", 40)
	chunks, err := Encrypt(&key.PublicKey, []byte(long))
	if err != nil {
		t.Fatal(err)
	}
	f := config.Parse(config.Source{Path: "zuul.yaml"}, []byte(YAML("my secret", "yes", chunks)+
		"      plain: [1, {deep: x}]\n"), config.Options{})
	if p := f.Problems(); len(p) > 0 || len(f.Secrets) != 1 {
		t.Fatalf("the pasted secret is not read: %v", p)
	}
	s := job.Secret{Name: f.Secrets[0].Name, Data: f.Secrets[0].Data}
	got, err := Open(t.Context(), oneKey{key}, s)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"yes": long, "plain": []any{int64(1), map[string]any{"deep": "x"}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestExportImport(t *testing.T) {
	p := change.Project{Connection: "gerrit", Name: "org/sub/project"}
	a, b := testKey(t), testKey(t)
	at := time.Unix(1700000000, 0)
	one, err := NewStored(p, Secrets, a, "pass", at)
	if err != nil {
		t.Fatal(err)
	}
	two, err := NewStored(p, SSH, b, "pass", at)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := Export(&buf, []Stored{one, two}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(buf.String(), `"/keystorage/gerrit/org/org%2Fsub%2Fproject/secrets"`) {
		t.Errorf("the path of the key is not Zuul's: %s", buf.String()[:200])
	}
	got, err := Import(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Stored{one, two}, got); d != "" {
		t.Fatal(d)
	}
	key, err := got[1].Open("pass")
	if err != nil || !key.Equal(b) {
		t.Errorf("the SSH key is another one after import: %v", err)
	}
	if _, err := got[0].Open("wrong"); !errors.Is(err, ErrPassword) {
		t.Errorf("a wrong password gives %v", err)
	}
}

// OpenSSL makes keys as Zuul's library does: an independent witness of both formats.
func TestOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl here")
	}
	pemText, err := exec.Command("openssl", "genrsa", "-traditional", "-aes256", "-passout", "pass:word", "2048").Output()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePrivatePEM(pemText, "word")
	if err != nil {
		t.Fatal(err)
	}
	text, err := PrivatePEM(key, "word")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("openssl", "rsa", "-passin", "pass:word", "-pubout")
	cmd.Stdin = bytes.NewReader(text)
	pub, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl does not read our key: %v", err)
	}
	want, err := PublicPEM(&key.PublicKey)
	if err != nil || !bytes.Equal(pub, want) {
		t.Errorf("public keys differ: %v", err)
	}
	back, err := ParsePublicPEM(pub)
	if err != nil || !back.Equal(&key.PublicKey) {
		t.Errorf("the public key does not come back: %v", err)
	}
}

func TestAuthorizedKey(t *testing.T) {
	line, err := AuthorizedKey(&testKey(t).PublicKey, "project org/project")
	if err != nil || !strings.HasPrefix(line, "ssh-rsa ") || !strings.HasSuffix(line, " project org/project") {
		t.Errorf("%q, %v", line, err)
	}
}
