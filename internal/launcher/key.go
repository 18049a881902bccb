package launcher

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/store"
)

// ensureKey reads the key pair with which nodes are reached, or makes it: whoever is first. A private key
// that the operator gave takes the place of the one that is there.
func ensureKey(ctx context.Context, st *store.Store, own []byte) (node.SSHKey, gossh.Signer, error) {
	fail := func(err error) (node.SSHKey, gossh.Signer, error) {
		return node.SSHKey{}, nil, fmt.Errorf("the key for nodes, %s: %w", node.KeyRecord, err)
	}
	e, found, err := kv.Get(ctx, st.KV(), node.KeyRecord)
	if err != nil {
		return fail(err)
	}
	if !found || len(own) > 0 {
		k, err := newKey()
		if len(own) > 0 {
			k, err = readKey(own)
		}
		if err != nil {
			return fail(err)
		}
		_, _, err = st.KV().Commit(ctx, kv.Txn{
			If:   []kv.Cmp{kv.Unchanged(node.KeyRecord, e.Mod)},
			Then: []kv.Op{kv.Put(node.KeyRecord, store.Encode(k))},
		})
		if err != nil {
			return fail(err)
		}
		if e, _, err = kv.Get(ctx, st.KV(), node.KeyRecord); err != nil {
			return fail(err)
		}
	}
	var k node.SSHKey
	if err := json.Unmarshal(e.Value, &k); err != nil {
		return fail(err)
	}
	signer, err := gossh.ParsePrivateKey([]byte(k.Private))
	if err != nil {
		return fail(err)
	}
	return k, signer, nil
}

// readKey makes a pair of a private key.
func readKey(private []byte) (node.SSHKey, error) {
	signer, err := gossh.ParsePrivateKey(private)
	if err != nil {
		return node.SSHKey{}, fmt.Errorf("the private key of the settings: %w", err)
	}
	return node.SSHKey{Private: string(private), Public: strings.TrimSpace(string(gossh.MarshalAuthorizedKey(signer.PublicKey()))) + " gozer"}, nil
}

func newKey() (node.SSHKey, error) {
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		return node.SSHKey{}, err
	}
	block, err := gossh.MarshalPrivateKey(priv, "gozer")
	if err != nil {
		return node.SSHKey{}, err
	}
	sshPub, err := gossh.NewPublicKey(pub)
	if err != nil {
		return node.SSHKey{}, err
	}
	line := strings.TrimSpace(string(gossh.MarshalAuthorizedKey(sshPub)))
	return node.SSHKey{Private: string(pem.EncodeToMemory(block)), Public: line + " gozer"}, nil
}
