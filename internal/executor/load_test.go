package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"gocloud.dev/blob/memblob"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
	"github.com/gozer-ci/gozer/internal/joblog"
	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/kv/etcd"
	"github.com/gozer-ci/gozer/internal/pipeline"
	"github.com/gozer-ci/gozer/internal/sandbox"
	"github.com/gozer-ci/gozer/internal/store"
)

// footprint is what a process has: it must be no more after its builds than before them.
type footprint struct {
	Goroutines, Files, Processes, Mounts, Namespaces, Groups int
	Heap                                                     int64
}

// measure looks at this process, and at what has its roots in dir: processes, mounts, control groups.
func measure(t *testing.T, dir string) footprint {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	f := footprint{Goroutines: runtime.NumGoroutine(), Files: len(fds), Processes: len(processes(dir)), Heap: int64(m.HeapAlloc)}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	f.Mounts = strings.Count(string(mounts), dir)
	near, _ := filepath.Glob("/sys/fs/cgroup/*/*/" + ownGroup + "/*")
	deeper, _ := filepath.Glob("/sys/fs/cgroup/*/*/*/" + ownGroup + "/*")
	f.Groups = len(directories(append(near, deeper...)))
	spaces := map[string]bool{}
	for _, p := range processes(dir) {
		if ns, err := os.Readlink(filepath.Join(filepath.Dir(p), "ns", "mnt")); err == nil {
			spaces[ns] = true
		}
	}
	f.Namespaces = len(spaces)
	return f
}

func directories(paths []string) (out []string) {
	for _, p := range paths {
		if st, err := os.Stat(p); err == nil && st.IsDir() {
			out = append(out, p)
		}
	}
	return out
}

// settles waits until nothing is left of builds, for the kernel takes a moment to clean up.
func settles(t *testing.T, dir string, before footprint) {
	t.Helper()
	var now footprint
	for range 1200 {
		now = measure(t, dir)
		if now.Goroutines <= before.Goroutines+5 && now.Files <= before.Files+5 && now.Processes <= before.Processes &&
			now.Mounts <= before.Mounts && now.Namespaces <= before.Namespaces && now.Groups <= before.Groups && now.Heap <= before.Heap+(32<<20) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("before %+v, after %+v; still running: %v", before, now, processes(dir))
}

// Many builds at once all end well, and leave nothing.
func TestManyBuildsAtOnce(t *testing.T) {
	for _, c := range []struct {
		name, path string
		builds     int
	}{{"native", "run.sh", 200}, {"ansible", "run.yaml", 20}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(cfg *Config) { cfg.Log = slog.New(slog.DiscardHandler) })
			w.repo("org/app", map[string]string{"run.sh": "#!/bin/sh\necho hi\n", "run.yaml": local("    - command: echo hi\n")})
			one := func() pipeline.Result {
				s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play(c.path)} })
				end := w.x.runBuild(context.Background(), s, Context{Tenant: "t"})
				if end.Result != pipeline.Success {
					t.Errorf("%+v", end)
				}
				return end.Result
			}
			one() // whatever is made once is there: a warm Ansible, a view
			before := measure(t, w.dir)
			begun, rise := time.Now(), peak(t)
			done := make(chan pipeline.Result)
			for range c.builds {
				go func() { done <- one() }()
			}
			for range c.builds {
				<-done
			}
			t.Logf("%d builds at once took %s; this process grew by %.0f MB", c.builds, time.Since(begun).Round(time.Millisecond), rise())
			settles(t, w.dir, before)
			t.Logf("before %+v, after %+v", before, measure(t, w.dir))
		})
	}
}

// apart is what an executor in a process of its own has to know.
type apart struct {
	ID, Endpoint, Dir, Ansible, Groups string
	Repos                              map[string]string
	States                             map[string]map[string]string
}

// executorMain is that process. It tells of its start with a line, and runs until it is killed.
func executorMain() int {
	err := func() error {
		var a apart
		if err := json.NewDecoder(os.Stdin).Decode(&a); err != nil {
			return err
		}
		ctx := context.Background()
		db, err := etcd.Dial(ctx, etcd.DialConfig{Endpoints: []string{a.Endpoint}})
		if err != nil {
			return err
		}
		st, err := store.Open(ctx, store.Config{KV: db})
		if err != nil {
			return err
		}
		ses, err := kv.NewSession(ctx, kv.SessionConfig{Store: db, TTL: 10 * time.Second})
		if err != nil {
			return err
		}
		go func() { _ = ses.Run(ctx) }()
		w := &world{dir: a.Dir, repos: map[change.Project]string{}, states: a.States}
		for name, path := range a.Repos {
			w.repos[proj(name)] = path
		}
		logs, err := joblog.New(joblog.Config{Dir: filepath.Join(a.Dir, "logs"), Bucket: memblob.OpenBucket(nil)})
		if err != nil {
			return err
		}
		box, err := sandbox.New(ctx, sandbox.Config{Cgroup: a.Groups})
		if err != nil {
			return err
		}
		x, err := New(Config{Store: st, Session: ses, ID: a.ID, Dir: filepath.Join(a.Dir, "x"), Ansible: Ansible{Dir: a.Ansible}, Sandbox: box,
			Logs: logs, Sources: w, Nodes: w, Secrets: w, Blob: w.blob, Builds: 50,
			Sensors: Sensors{Disk: -1, Inodes: -1, Memory: -1}, Limits: Limits{Setup: 10 * time.Minute}})
		if err != nil {
			return err
		}
		fmt.Println("ready")
		return x.Run(ctx)
	}()
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func startApart(t *testing.T, a apart) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "test-executor")
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(text)), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatalf("the executor did not start: %v", err)
	}
	return cmd
}

// An executor that is killed in the middle of many builds takes all of their processes with it; another
// one tells that they are lost, so that they run again, and leaves nothing of them.
func TestAKilledExecutor(t *testing.T) {
	m, err := etcd.Start(t.Context(), etcd.EmbedConfig{Dir: filepath.Join(t.TempDir(), "etcd"), ClientAddr: "127.0.0.1:0", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	st, err := store.Open(t.Context(), store.Config{KV: m.Store()})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil)
	sleep, mark := sleeper(3)
	w.repo("org/app", map[string]string{"slow.sh": "#!/bin/sh\n" + sleep + "\n", "slow.yaml": local("    - command: " + sleep + "\n"), "run.sh": "#!/bin/sh\necho hi\n"})
	a := apart{ID: "x1", Groups: ownGroup, Endpoint: m.ClientAddr(), Dir: t.TempDir(), Ansible: w.x.Ansible.Dir, Repos: map[string]string{"org/app": w.repos[proj("org/app")]}, States: w.states}
	before := measure(t, a.Dir)
	first := startApart(t, a)
	var builds []*pipeline.Start
	for i := range 12 {
		path := "slow.sh"
		if i%4 == 0 {
			path = "slow.yaml"
		}
		s := w.start(func(s *pipeline.Start) { s.Job.Run = []job.Playbook{play(path)} })
		builds = append(builds, s)
		ask(t, st, s)
	}
	begun := func() int { return len(processes(mark)) }
	for i := 0; begun() < len(builds) && i < 6000; i++ {
		time.Sleep(50 * time.Millisecond)
	}
	if n := begun(); n < len(builds) {
		t.Fatalf("%d of %d builds began", n, len(builds))
	}
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	for i := 0; len(processes(a.Dir))+begun() > 0 && i < 1200; i++ {
		time.Sleep(50 * time.Millisecond)
	}
	if left := append(processes(a.Dir), processes(mark)...); len(left) > 0 {
		t.Errorf("processes outlive their executor: %v", left)
	}
	a.ID = "x2"
	second := startApart(t, a)
	for _, s := range builds {
		if _, end := news(t, st, s.Build); end.Result != pipeline.Aborted || !strings.Contains(end.Detail, "is gone") {
			t.Errorf("a lost build: %+v", end)
		}
	}
	for range builds { // what the pipeline does then
		s := w.start(func(s *pipeline.Start) { s.Job.Run, s.Attempt = []job.Playbook{play("run.sh")}, 2 })
		ask(t, st, s)
		if _, end := news(t, st, s.Build); end.Result != pipeline.Success {
			t.Errorf("a build that runs again: %+v", end)
		}
	}
	left, err := os.ReadDir(filepath.Join(a.Dir, "x", "builds"))
	if err != nil || len(left) > 0 {
		t.Errorf("folders of builds are left: %v %v", left, err)
	}
	for _, prefix := range []string{"/claim/build/", "/request/build/"} {
		r, err := st.KV().Range(t.Context(), kv.Query{Prefix: prefix})
		if err != nil || len(r.KVs) > 0 {
			t.Errorf("%d records below %s are left: %v", len(r.KVs), prefix, err)
		}
	}
	_ = second.Process.Kill()
	_ = second.Wait()
	settles(t, a.Dir, before)
}
