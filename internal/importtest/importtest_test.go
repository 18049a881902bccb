// Package importtest holds the direction of imports, the purity of the packages that promise it, and that
// every package says what it is. See docs/ARCHITECTURE.md.
package importtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/gozer-ci/gozer/"

// floors from the ground up: a package imports only floors below its own, and of its own only what stands
// before it. What is not listed belongs to the longest listed prefix (forge/local to forge).
var floors = [][]string{
	{"internal/change", "internal/event", "internal/job"},
	{"internal/pipeline", "internal/config", "internal/layout", "internal/node", "internal/timeline", "internal/deps"},
	{"internal/kv", "internal/store", "internal/history"},
	{"ansible", "internal/git", "internal/sandbox", "internal/ansible", "internal/secret", "internal/joblog", "internal/checkout", "internal/deps/read"},
	{"internal/forge", "internal/provider"},
	{"internal/tenant", "internal/reporter"},
	{"internal/settings", "internal/auth", "internal/api", "web"},
	{"internal/scheduler", "internal/merger", "internal/launcher", "internal/executor", "internal/web"},
	{"internal/demo", "internal/gatetest", "cmd/gozer"},
}

// pure packages do no I/O, read no clock, draw no random number and start no goroutine.
var pure = []string{
	"internal/change", "internal/event", "internal/job", "internal/config", "internal/layout", "internal/pipeline",
	"internal/node", "internal/timeline", "internal/deps",
}

var impure = []string{"os", "os/exec", "net", "net/http", "io/fs", "math/rand", "math/rand/v2", "crypto/rand", "syscall", "log", "log/slog", "io/ioutil"}

type pkg struct {
	path    string
	imports map[string]string // import path to file
	files   []*ast.File
	names   []string
	doc     bool
}

func load(t *testing.T) (map[string]*pkg, *token.FileSet) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	out := map[string]*pkg{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n == "node_modules" || n == "testdata" || n == "bin" || (strings.HasPrefix(n, ".") && path != root) || n == "examples" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, filepath.Dir(path))
		p := out[rel]
		if p == nil {
			p = &pkg{path: rel, imports: map[string]string{}}
			out[rel] = p
		}
		p.doc = p.doc || f.Doc != nil
		p.files = append(p.files, f)
		p.names = append(p.names, path)
		for _, im := range f.Imports {
			s, _ := strconv.Unquote(im.Path.Value)
			p.imports[s] = path
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, fset
}

// place finds floor and position of a package.
func place(path string) (floor, pos int, ok bool) {
	best := -1
	for i, f := range floors {
		for j, name := range f {
			if (path == name || strings.HasPrefix(path, name+"/")) && len(name) > best {
				floor, pos, ok, best = i, j, true, len(name)
			}
		}
	}
	return floor, pos, ok
}

func TestImportsRunOneWay(t *testing.T) {
	pkgs, _ := load(t)
	for _, p := range pkgs {
		floor, pos, ok := place(p.path)
		if !ok {
			t.Errorf("%s is on no floor: put it into the table of this test and of docs/ARCHITECTURE.md", p.path)
			continue
		}
		for im := range p.imports {
			dep, ours := strings.CutPrefix(im, module)
			if !ours {
				continue
			}
			f, q, ok := place(dep)
			if !ok || f < floor || (f == floor && q <= pos) {
				continue
			}
			t.Errorf("%s imports %s, which is above it", p.path, dep)
		}
	}
}

// Nobody but the ends imports a worker, a driver of a forge or of a provider.
func TestWorkersAndDriversAreImportedByTheEndsOnly(t *testing.T) {
	pkgs, _ := load(t)
	workers := floors[len(floors)-2]
	for _, p := range pkgs {
		if slices.ContainsFunc(floors[len(floors)-1], func(end string) bool { return p.path == end || strings.HasPrefix(p.path, end+"/") }) {
			continue
		}
		for im := range p.imports {
			dep, ours := strings.CutPrefix(im, module)
			if !ours || strings.HasPrefix(dep, p.path+"/") {
				continue
			}
			under := func(name string) bool { return dep == name || strings.HasPrefix(dep, name+"/") }
			same := func(name string) bool { return strings.HasPrefix(p.path, name+"/") || p.path == name }
			for _, w := range workers {
				if under(w) && !same(w) {
					t.Errorf("%s imports worker %s", p.path, dep)
				}
			}
			for _, seam := range []string{"internal/forge/", "internal/provider/"} {
				shared := dep == "internal/provider/knock" // asks any node for its SSH banner and keys
				if strings.HasPrefix(dep, seam) && !strings.HasPrefix(p.path, seam) && !shared {
					t.Errorf("%s imports driver %s", p.path, dep)
				}
			}
		}
	}
}

func TestPurePackagesArePure(t *testing.T) {
	pkgs, fset := load(t)
	for _, p := range pkgs {
		if !slices.Contains(pure, p.path) {
			continue
		}
		for im, file := range p.imports {
			if slices.Contains(impure, im) {
				t.Errorf("%s: %s is pure and must not import %s", file, p.path, im)
			}
		}
		for _, f := range p.files {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s: %s is pure and must not start goroutines", fset.Position(n.Pos()), p.path)
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "NewTimer"}, n.Sel.Name) {
						t.Errorf("%s: %s is pure and must not ask the clock", fset.Position(n.Pos()), p.path)
					}
				}
				return true
			})
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	pkgs, _ := load(t)
	for _, p := range pkgs {
		if !p.doc {
			t.Errorf("%s has no package comment", p.path)
		}
	}
}

// A package with a name that says nothing is a package without a subject.
func TestNames(t *testing.T) {
	pkgs, _ := load(t)
	for _, p := range pkgs {
		if slices.Contains([]string{"model", "models", "types", "common", "util", "utils", "core", "manager", "helper", "helpers"}, filepath.Base(p.path)) {
			t.Errorf("%s: name the package for what it is about", p.path)
		}
	}
	if _, err := os.Stat("../../go.mod"); err != nil {
		t.Fatal(err)
	}
}
