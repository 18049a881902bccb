package executor

import (
	"errors"
	"os"
	"path/filepath"
)

// jobDir is the folder of one build, laid out as semantics 4.2 tells. The same paths hold in sandboxes.
type jobDir struct{ root string }

func (d jobDir) ansible(p ...string) string { return d.join("ansible", p...) }
func (d jobDir) hidden(p ...string) string  { return d.join(".ansible", p...) }
func (d jobDir) work(p ...string) string    { return d.join("work", p...) }
func (d jobDir) join(first string, p ...string) string {
	return filepath.Join(append([]string{d.root, first}, p...)...)
}

func (d jobDir) src() string  { return d.work("src") }
func (d jobDir) logs() string { return d.work("logs") }

// observed is where callbacks write down what tasks did, and where jobs put what theirs elsewhere wrote.
func (d jobDir) observed(p ...string) string {
	return filepath.Join(append([]string{d.logs(), "observed"}, p...)...)
}

func (d jobDir) tmp() string        { return d.work("tmp") }
func (d jobDir) knownHosts() string { return d.work(".ssh", "known_hosts") }
func (d jobDir) factCache() string  { return d.hidden("fact-cache") }
func (d jobDir) zuulVars() string   { return d.ansible("zuul_vars.yaml") }
func (d jobDir) extraVars() string  { return d.ansible("extra_vars.yaml") }
func (d jobDir) siteVars() string   { return d.ansible("site_vars.yaml") }
func (d jobDir) connectionVars() string {
	return d.ansible("connection_vars.yaml")
}
func (d jobDir) inventory() string { return d.ansible("inventory.yaml") }
func (d jobDir) results() string   { return d.work("results.json") }

// make makes the folders of a build.
func (d jobDir) make() error {
	if err := os.Mkdir(d.root, 0o700); err != nil {
		return err
	}
	var errs []error
	for _, p := range []string{d.ansible("setup_playbook"), d.factCache(), d.hidden("local_tmp"), d.hidden("collections"), d.work(".ssh"),
		d.work(".kube"), d.src(), d.logs(), d.tmp(), d.join("trusted"), d.join("untrusted")} {
		errs = append(errs, os.MkdirAll(p, 0o700))
	}
	for _, f := range []string{d.knownHosts(), d.work(".kube", "config")} {
		errs = append(errs, os.WriteFile(f, nil, 0o600))
	}
	return errors.Join(errs...)
}

// sweep removes folders, sockets and control groups of builds that a killed executor left. Their
// processes died with it.
func (x *Executor) sweep() error {
	var errs []error
	for _, d := range []string{"builds", "views"} {
		entries, err := os.ReadDir(filepath.Join(x.Dir, d))
		errs = append(errs, err)
		for _, e := range entries {
			errs = append(errs, removeTree(filepath.Join(x.Dir, d, e.Name())))
		}
	}
	if x.Sandbox != nil {
		x.Sandbox.Remnants()
	}
	return errors.Join(errs...)
}

// removeTree removes a folder in which a job may have taken the permissions away from itself.
func removeTree(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
