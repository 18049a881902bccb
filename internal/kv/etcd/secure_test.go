package etcd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gozer-ci/gozer/internal/gatetest/port"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
)

// authority makes certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca")
	return a
}

// sign makes ca.pem, or NAME.pem and NAME-key.pem.
func (a *authority) sign(name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, by := a.cert, a.key
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+"-key.pem", "EC PRIVATE KEY", secret)
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return made, key
}

func (a *authority) write(name, kind string, der []byte) {
	if err := os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) files(name string) *etcd.TLSFiles {
	a.sign(name)
	return &etcd.TLSFiles{CA: filepath.Join(a.dir, "ca.pem"), Cert: filepath.Join(a.dir, name+".pem"), Key: filepath.Join(a.dir, name+"-key.pem")}
}

// client is what a client shows and believes.
func (a *authority) client(f *etcd.TLSFiles) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	c := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if f != nil {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			a.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// A cluster elsewhere that asks for certificates and for a password: the right ones work, whichever is wrong is
// said at the first contact, and nothing hangs.
func TestCertificatesAndPasswords(t *testing.T) {
	a := newAuthority(t)
	m := start(t, etcd.EmbedConfig{Dir: filepath.Join(t.TempDir(), "etcd"), ClientAddr: port.Own(t), ClientTLS: a.files("server")})
	own := a.client(a.files("client"))
	ends := []string{"https://" + m.ClientAddr()}
	root, err := clientv3.New(clientv3.Config{Endpoints: ends, TLS: own, DialTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ctx := t.Context()
	for _, do := range []func() error{
		func() error { _, err := root.UserAdd(ctx, "root", "top"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.UserAdd(ctx, "gozer", "right"); return err },
		func() error { _, err := root.RoleAdd(ctx, "gozer"); return err },
		func() error {
			_, err := root.RoleGrantPermission(ctx, "gozer", "/gozer/", clientv3.GetPrefixRangeEnd("/gozer/"), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := root.UserGrantRole(ctx, "gozer", "gozer"); return err },
		func() error { _, err := root.AuthEnable(ctx); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := etcd.Dial(ctx, etcd.DialConfig{Endpoints: ends, TLS: own, Username: "gozer", Password: "right", Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rev := put(t, s, "/a", "1")
	lease, err := s.Grant(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if ok, _, err := s.Commit(ctx, kv.Txn{If: []kv.Cmp{kv.Created("/a", rev)}, Then: []kv.Op{kv.PutLease("/b", nil, lease), kv.DeletePrefix("/a")}}); !ok || err != nil {
		t.Errorf("a transaction with all there is: %v, %v", ok, err)
	}
	if err := s.Revoke(ctx, lease); err != nil {
		t.Error(err)
	}
	strange := newAuthority(t)
	for name, c := range map[string]struct {
		config   etcd.DialConfig
		words    []string
		answered bool
	}{
		"wrong password":     {etcd.DialConfig{TLS: own, Username: "gozer", Password: "wrong"}, []string{"password"}, true},
		"no certificate":     {etcd.DialConfig{TLS: a.client(nil), Username: "gozer", Password: "right"}, []string{"certificate"}, false},
		"another authority":  {etcd.DialConfig{TLS: strange.client(nil), Username: "gozer", Password: "right"}, nil, false},
		"no TLS at all":      {etcd.DialConfig{Username: "gozer", Password: "right"}, nil, false},
		"nobody listens":     {etcd.DialConfig{Endpoints: []string{port.Own(t)}}, []string{"nobody listens"}, false},
		"no password at all": {etcd.DialConfig{TLS: own}, []string{"without a user", "permission"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.config.Endpoints == nil {
				c.config.Endpoints = ends
			}
			// Only who is let in, or told why not, gets an answer: there is time for it.
			if c.config.Timeout = time.Second; c.answered {
				c.config.Timeout = time.Minute
			}
			ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
			defer cancel()
			s, err := etcd.Dial(ctx, c.config)
			if err == nil {
				_, _, err = kv.Get(ctx, s, "/a")
				_ = s.Close()
			}
			wantErr(t, err, append(c.words, c.config.Endpoints[0])...)
			t.Log(err)
		})
	}
}
