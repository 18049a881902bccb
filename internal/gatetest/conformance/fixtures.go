package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/forge/fake"
)

// layTenants makes the tenant file and a repository of each folder beside it.
func (w *world) layTenants(ctx context.Context, path string) error {
	if err := w.useTenants(path); err != nil {
		return err
	}
	root := filepath.Join(w.fixtures, filepath.Dir(filepath.FromSlash(path)), "git")
	list, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, d := range list {
		if !d.IsDir() {
			continue
		}
		files, err := fake.FilesOf(os.DirFS(filepath.Join(root, d.Name())))
		if err != nil {
			return err
		}
		for p, f := range files {
			if f.Text, err = reencrypt(w.fixtures, f.Text); err != nil {
				return fmt.Errorf("%s/%s: %w", d.Name(), p, err)
			}
			files[p] = f
		}
		if err := w.repos.Create(ctx, strings.ReplaceAll(d.Name(), "_", "/"), "add content from fixture", files, "init"); err != nil {
			return err
		}
	}
	return nil
}

// useTenants puts another tenant file into place.
func (w *world) useTenants(path string) error {
	text, err := os.ReadFile(filepath.Join(w.fixtures, filepath.FromSlash(path)))
	if err != nil {
		return err
	}
	return os.WriteFile(w.tenantFile, text, 0o600)
}

// layLayout makes a tenant of a single file of configuration.
func (w *world) layLayout(ctx context.Context, path, driver string) error {
	text, err := w.fixture(path)
	if err != nil {
		return err
	}
	l, err := readLayout(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	files := fake.Files{"zuul.yaml": {Text: text}}
	for _, p := range l.playbooks {
		files[p] = fake.File{}
	}
	if err := w.repos.Create(ctx, "org/common-config", "add content from fixture", files, "init"); err != nil {
		return err
	}
	for _, p := range l.projects {
		if err := w.repos.Create(ctx, p, "add content from fixture", fake.Files{"README": {}}, "init"); err != nil {
			return err
		}
	}
	tenant := map[string]any{"tenant": map[string]any{"name": "tenant-one", "source": map[string]any{driver: map[string]any{
		"config-projects": []string{"org/common-config"}, "untrusted-projects": l.projects,
	}}}}
	out, err := yaml.Marshal([]any{tenant})
	if err != nil {
		return err
	}
	return os.WriteFile(w.tenantFile, out, 0o600)
}

// layout is what the runner must know of a file of configuration.
type layout struct{ projects, playbooks, jobs []string }

func readLayout(text string) (layout, error) {
	var l layout
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return l, err
	}
	if len(doc.Content) == 0 {
		return l, nil
	}
	for _, item := range doc.Content[0].Content {
		if item.Kind != yaml.MappingNode || len(item.Content) < 2 {
			continue
		}
		body := item.Content[1]
		switch item.Content[0].Value {
		case "project":
			name := value(body, "name")
			if name != nil && !strings.HasPrefix(name.Value, "^") && name.Value != "org/common-config" && !slices.Contains(l.projects, name.Value) {
				l.projects = append(l.projects, name.Value)
			}
		case "job":
			if name := value(body, "name"); name != nil {
				l.jobs = append(l.jobs, name.Value)
			}
			for _, key := range []string{"pre-run", "run", "post-run"} {
				l.playbooks = append(l.playbooks, playbooks(value(body, key))...)
			}
		}
	}
	return l, nil
}

func value(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// playbooks are the paths that an attribute of a job names: a text, a map with a name, or a list of those.
func playbooks(n *yaml.Node) []string {
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.ScalarNode && n.Value != "":
		return []string{n.Value}
	case n.Kind == yaml.MappingNode:
		return playbooks(value(n, "name"))
	}
	var out []string
	for _, x := range n.Content {
		if n.Kind == yaml.SequenceNode {
			out = append(out, playbooks(x)...)
		}
	}
	return out
}
