package executor

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// files reads a tree of testdata as repo takes it.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, path))
		out[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The contract that shared roles rely on: a base job puts a key of the build and the sources on the node,
// by rsync and by git over SSH, and brings back and keeps what the job left; each with the modules,
// variables and files that such roles use.
func TestTheContractOfSharedRoles(t *testing.T) {
	w, ns := withNode(t, "controller")
	w.repo("org/base", files(t, "testdata/contract/base"))
	w.repo("org/app", files(t, "testdata/contract/app"))
	for _, version := range []string{"9", "8"} {
		t.Run("ansible "+version, func(t *testing.T) {
			if version != "9" && testing.Short() {
				t.Skip("the default version only")
			}
			installed(t, version)
			w.t = t
			s := w.start(func(s *pipeline.Start) {
				s.Job.AnsibleVersion = version
				s.Job.PreRun, s.Job.Run, s.Job.PostRun = []job.Playbook{base("playbooks/pre.yaml")}, []job.Playbook{play("run.yaml")}, []job.Playbook{base("playbooks/post.yaml")}
				for _, ps := range [][]job.Playbook{s.Job.PreRun, s.Job.PostRun} {
					ps[0].Roles = ps[0].Roles[:1]
				}
				s.Job.Vars = map[string]any{"greeting": "hello", "key_file": "{{ zuul.executor.work_root }}/build_key"}
				w.onNodes(ns, s)
			})
			end, log := w.build(s)
			if end.Result != pipeline.Success {
				t.Fatalf("result %s: %s\n%s", end.Result, end.Detail, log)
			}
			want(t, log, "TASK [put-sources : Copy the sources with rsync]", "LOOP [mirror-sources : Push every ref over SSH]",
				"controller | hello from mirror", "localhost | ok: before the nodes")
			returned, _ := end.Data["zuul"].(map[string]any)
			if url, _ := returned["log_url"].(string); url != "https://logs.example.com/1/1/1/check/test/"+string(s.Build)[:7]+"/" {
				t.Errorf("returned %v", end.Data)
			}
			if end.Data["told"] != "told one two" {
				t.Errorf("returned %v", end.Data)
			}
		})
	}
}
