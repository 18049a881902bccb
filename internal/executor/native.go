package executor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/sandbox"
)

// native runs a playbook that is a program: on the first node over SSH where the job has nodes, else in
// a sandbox here. Its exit code is its result; what it writes to $GOZER_RESULT counts as zuul_return.
func (b *build) native(ctx context.Context, p *playbook, phase string, index int, timeout time.Duration, f flags, secrets object) (ansible.Result, error) {
	limited, cancel := ctx, context.CancelFunc(func() {})
	if timeout > 0 {
		limited, cancel = context.WithTimeout(ctx, timeout)
	}
	defer cancel()
	vars, err := b.facts(phase, index, f, secrets)
	if err != nil {
		return ansible.Result{}, err
	}
	var code int
	var result []byte
	var lost error
	if len(b.nodes) > 0 {
		code, result, lost, err = b.nativeOnNode(limited, p, vars)
	} else {
		code, result, err = b.nativeHere(limited, p, phase, index, vars)
	}
	host := b.nativeHost()
	switch {
	case ctx.Err() != nil:
		return ansible.Result{Outcome: ansible.Aborted}, nil
	case limited.Err() != nil:
		return ansible.Result{Outcome: ansible.TimedOut}, nil
	case lost != nil:
		b.console.event(&ansible.Event{Kind: "unreachable", Host: host, Task: p.Path, Text: lost.Error()})
		return ansible.Result{Outcome: ansible.Unreachable, Unreachable: []string{host}}, nil
	case err != nil:
		return ansible.Result{}, err
	}
	if err := b.takeResult(result); err != nil {
		b.console.line("%v", err)
		b.warnings = append(b.warnings, err.Error())
	}
	state := "ok"
	if code != 0 {
		state = "failed"
	}
	b.console.event(&ansible.Event{Kind: "result", Host: host, Task: p.Path, State: state, Text: fmt.Sprintf("exit code %d", code)})
	return ansible.Result{Outcome: ansible.Normal, Code: code}, nil
}

func (b *build) nativeHost() string {
	if len(b.inv.Hosts) > 0 {
		return b.inv.Hosts[0].Name
	}
	return ansible.Localhost
}

// facts are the variables of a native playbook: what zuul.* tells Ansible ones, flat.
func (b *build) facts(phase string, index int, f flags, secrets object) (map[string]string, error) {
	c := b.primary
	v := map[string]string{
		"BUILD": string(b.s.Build), "BUILDSET": string(b.s.Buildset), "JOB": b.s.Job.Name, "TENANT": b.tenant,
		"PIPELINE": b.pipeline, "PROJECT": c.Project.Name, "SHORT_PROJECT_NAME": c.Project.Short(), "BRANCH": c.Branch,
		"CHANGE": c.Number, "PATCHSET": c.Patchset, "REF": c.Ref, "URL": c.URL, "UUID": string(b.s.Build),
		"ATTEMPT": itoa(b.s.Attempt), "PHASE": phase, "PHASE_INDEX": itoa(index),
		"VOTING": pyBool(b.s.Job.Voting), "SRC_DIR": srcDir(c.Project, b.s.Job.WorkspaceScheme),
	}
	for name, rev := range map[string]string{"OLDREV": c.OldRev, "NEWREV": c.NewRev, "COMMIT": c.Commit} {
		if rev != "" && rev != change.Zero {
			v[name] = rev
		}
	}
	if w := b.viewVars(); w != nil {
		v["VIEW"] = fmt.Sprint(w["path"])
	}
	if f.post {
		v["SUCCESS"], v["WILL_RETRY"] = pyBool(f.success), pyBool(f.retry)
	}
	env := map[string]string{"CI": "true"}
	for name, x := range v {
		if x != "" {
			env["GOZER_"+name], env["ZUUL_"+name] = x, x
		}
	}
	vars := b.inv.JobVars(b.nativeHost())
	maps.Copy(vars, b.s.Job.ExtraVars)
	for name, x := range map[string]object{"GOZER_VARS": vars, "GOZER_SECRETS": secrets} {
		text, err := json.Marshal(orEmpty(x))
		if err != nil {
			return nil, err
		}
		env[name] = string(text)
	}
	return env, nil
}

// nativeHere runs the program in a sandbox, in the project's folder of the workspace.
func (b *build) nativeHere(ctx context.Context, p *playbook, phase string, index int, vars map[string]string) (int, []byte, error) {
	// Where there is an Ansible for the job, programs find it on their PATH: many check playbooks.
	ans, err := b.ansible()
	if err != nil {
		ans = nil
	}
	box := b.box(ans, p, phase, index)
	out, err := os.MkdirTemp(b.dir.hidden(), "result")
	if err != nil {
		return 0, nil, err
	}
	vars["GOZER_RESULT"] = filepath.Join(out, "result.json")
	dir := b.dir.work(vars["GOZER_SRC_DIR"])
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		dir = b.dir.work()
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.nativeOutput(r)
	}()
	env := b.environ(ans)
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, k+"="+vars[k])
	}
	proc, err := b.x.Sandbox.Start(ctx, *box, sandbox.Command{Args: []string{p.path}, Env: env, Dir: dir, Stdout: w, Stderr: w})
	if err != nil {
		w.Close()
		<-done
		return 0, nil, err
	}
	code, err := proc.Wait()
	w.Close()
	<-done
	if err != nil {
		return 0, nil, err
	}
	text, err := readInside(out, "result.json", maxResults)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return code, text, err
}

// nativeOutput writes what a program prints into the log, line by line.
func (b *build) nativeOutput(r io.Reader) {
	host := b.nativeHost()
	in := bufio.NewReaderSize(r, 48<<10)
	for {
		part, err := in.ReadSlice('\n')
		more := errors.Is(err, bufio.ErrBufferFull)
		if len(part) > 0 {
			text := strings.TrimRight(strings.ToValidUTF8(string(part), "\uFFFD"), "\r\n")
			b.console.event(&ansible.Event{Kind: "line", Host: host, Text: text, More: more})
		}
		if err != nil && !more {
			return
		}
	}
}

// takeResult merges what a program returned into the build's results: an object with data and
// secret_data as zuul_return takes them, or the data itself.
func (b *build) takeResult(text []byte) error {
	if len(strings.TrimSpace(string(text))) == 0 {
		return nil
	}
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		return fmt.Errorf("what the program wrote to $GOZER_RESULT is no JSON object: %w", err)
	}
	_, hasData := v["data"]
	_, hasSecret := v["secret_data"]
	add := returned{Data: v}
	if hasData || hasSecret {
		add.Data, _ = v["data"].(object)
		add.Secret, _ = v["secret_data"].(object)
	}
	old := b.returned()
	if old.err != nil {
		return old.err
	}
	merged := returned{Data: addReturned(old.Data, add.Data), Secret: ansible.Merge(old.Secret, add.Secret)}
	out, err := json.Marshal(merged)
	if err != nil {
		return err
	}
	// The job may have made a link of it; what is there is replaced, not followed.
	tmp := b.dir.hidden("results.new")
	if err := os.WriteFile(tmp, out, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, b.dir.results())
}
