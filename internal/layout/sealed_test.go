package layout_test

import (
	"testing"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
	"github.com/gozer-ci/gozer/internal/layout"
)

const withSecret = `
- secret: {name: token, data: {token: !encrypted/pkcs1-oaep [aGVsbG8=]}}
- job: {name: publish, secrets: token, parent: null}
`

// A secret that no key opens is a problem of the jobs that use it, blocks the change that brings it, and is no part of
// the layout's identity.
func TestSecretsThatCannotBeOpened(t *testing.T) {
	p := change.Project{Host: "example.org", Name: "config"}
	file := func(text string) *config.File {
		return config.Parse(config.Source{Project: p, Branch: "master", Path: "zuul.yaml", Trusted: true}, []byte(text), config.Options{})
	}
	q := change.Project{Host: "example.org", Name: "org/web"}
	own := func(text string) *config.File {
		return config.Parse(config.Source{Project: q, Branch: "master", Path: "zuul.yaml"}, []byte(text), config.Options{})
	}
	build := func(f *config.File, sealed map[layout.SecretID]string) *layout.Layout {
		return layout.New(layout.Input{Tenant: config.NewTenant("t"), Sealed: sealed, Projects: []layout.ProjectInput{
			{Project: p, Options: config.NewTenantProject("", p.Name, true), Branches: []layout.BranchInput{{Name: "master", Files: []*config.File{f}}}},
			{Project: q, Branches: []layout.BranchInput{{Name: "master"}}},
		}})
	}
	f := file(withSecret)
	open := build(f, nil)
	shut := build(f, map[layout.SecretID]string{{Project: p.Canonical(), Secret: f.Secrets[0]}: "no key"})
	if len(open.Problems) > 0 || len(shut.Problems) != 1 || open.ID != shut.ID {
		t.Fatalf("open: %v; shut: %v", open.Problems, shut.Problems)
	}
	got := shut.Problems[0]
	if got.Name != config.NameSecretDecryption || got.Line != 3 || got.Declared != "publish" || got.Hint == "" {
		t.Errorf("%+v", got)
	}
	if len(shut.Variants("publish")) != 1 {
		t.Error("the job is gone")
	}

	proposed := own("- secret: {name: mine, data: {token: !encrypted/pkcs1-oaep [aGVsbG8=]}}\n- job: {name: ship, secrets: mine, parent: publish}\n")
	in := layout.DynamicInput{Proposed: []layout.Proposal{{Project: q, Branch: "master", Files: []*config.File{proposed}}},
		Changes: []*change.Change{{Project: q, Branch: "master"}}}
	if d := open.Dynamic(in); d.Blocked() {
		t.Errorf("blocked: %v", d.Problems)
	}
	in.Sealed = map[layout.SecretID]string{{Project: q.Canonical(), Secret: proposed.Secrets[0]}: "no key"}
	if d := open.Dynamic(in); !d.Blocked() || len(d.Problems) != 1 || d.Problems[0].Name != config.NameSecretDecryption {
		t.Errorf("%+v", d.Problems)
	}
}
