package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/ansible"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// returned is what a job gave back with zuul_return.
type returned struct {
	Data   map[string]any `json:"data"`
	Secret map[string]any `json:"secret_data"`
	err    error
}

func (r returned) zuul() object {
	z, _ := r.Data["zuul"].(object)
	return z
}

func (r returned) pause() bool {
	p, _ := r.zuul()["pause"].(bool)
	return p
}

// maxResults bounds what a job can return, in bytes.
const maxResults = 8 << 20

// returned reads work/results.json, which the job may have replaced by whatever it likes.
func (b *build) returned() returned {
	var r returned
	text, err := readInside(b.dir.work(), "results.json", maxResults)
	if errors.Is(err, os.ErrNotExist) {
		return r
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return returned{err: fmt.Errorf("what the job returned cannot be read: %w", err)}
	}
	return r
}

// readInside reads a file in dir without following links out of it.
func readInside(dir, name string, limit int64) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// A pipe would be waited on for good.
	if st, err := root.Stat(name); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	return text, err
}

// results adds what the job returned to the news of its end.
func (b *build) results(ctx context.Context, end *pipeline.BuildEnded) {
	r := b.returned()
	end.Warnings = append(end.Warnings, b.warnings...)
	if r.err != nil {
		end.Warnings = append(end.Warnings, r.err.Error())
		b.console.line("%v", r.err)
		return
	}
	end.Warnings = append(end.Warnings, b.mapComments(ctx, r.zuul())...)
	for _, name := range odd(r.Data, r.Secret) {
		b.console.line("The job returned %q, which is no name for a variable: other jobs do not get it", name)
	}
	end.Data = r.Data
	end.SecretData = b.seal(ctx, r)
	end.Warnings = append(end.Warnings, Warnings(r.zuul())...)
}

// Warnings are what a job has its report say, among the data that it returned under the name zuul.
func Warnings(zuul map[string]any) (out []string) {
	for _, w := range listOf(zuul["warnings"]) {
		if s, ok := w.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// odd are returned names that cannot be variables of other jobs.
func odd(returned ...object) (names []string) {
	for _, m := range returned {
		for name := range m {
			if !variableName.MatchString(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// addReturned is old with what was returned later on top. As with zuul_return, the lists of zuul grow:
// later artifacts and warnings come first, later comments on a file last.
func addReturned(old, later object) object {
	out := ansible.Merge(old, later)
	was, _ := old["zuul"].(object)
	is, _ := later["zuul"].(object)
	if was == nil || is == nil {
		return out
	}
	zuul := ansible.Merge(was, is)
	for _, name := range []string{"artifacts", "warnings"} {
		if a, b := listOf(was[name]), listOf(is[name]); len(a) > 0 && len(b) > 0 {
			zuul[name] = slices.Concat(b, a)
		}
	}
	comments, _ := zuul["file_comments"].(object)
	before, _ := was["file_comments"].(object)
	after, _ := is["file_comments"].(object)
	for path := range comments {
		if a, b := listOf(before[path]), listOf(after[path]); len(a) > 0 && len(b) > 0 {
			comments[path] = slices.Concat(a, b)
		}
	}
	out["zuul"] = zuul
	return out
}

func listOf(v any) []any {
	l, _ := v.([]any)
	return l
}

// seal keeps returned secret data and gives its name.
func (b *build) seal(ctx context.Context, r returned) string {
	if len(r.Secret) == 0 || b.x.Secrets == nil {
		return ""
	}
	b.mask.AddAll(r.Secret)
	name, err := b.x.Secrets.Seal(ctx, b.tenant, r.Secret)
	if err != nil {
		b.warnings = append(b.warnings, "The secret data that the job returned could not be kept")
		b.log.Warn("secret data could not be sealed", "error", err)
	}
	return name
}

func (b *build) attachJSON(ctx context.Context, f io.Reader) error {
	return b.x.Logs.Attach(ctx, string(b.s.Build), "job-output.json", f)
}

// explain says in words why a playbook did not succeed: what failed, where, and what came before it.
func (b *build) explain(p *playbook, r ansible.Result) string {
	b.console.mu.Lock()
	f := b.console.failed
	b.console.mu.Unlock()
	switch {
	case r.Outcome == ansible.TimedOut:
		return fmt.Sprintf("Playbook %s timed out", p.Path)
	case f == nil && r.Output != "":
		return b.mask.String(fmt.Sprintf("Playbook %s: %s", p.Path, errorLine(r.Output)))
	case f == nil:
		return fmt.Sprintf("Playbook %s ended with code %d", p.Path, r.Code)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "Task %q failed on %s", f.task, f.host)
	if f.text != "" {
		first, _, _ := strings.Cut(f.text, "\n")
		fmt.Fprintf(&s, ": %s", first)
	}
	if last := useful(f.lines, f.host); len(last) > 0 {
		s.WriteString("\n" + strings.Join(last, "\n"))
	}
	return s.String()
}

// useful are the last lines that the host printed before it failed.
func useful(lines []string, host string) []string {
	var out []string
	for _, l := range lines {
		if strings.HasPrefix(l, "TASK [") || strings.HasPrefix(l, "LOOP [") {
			out = nil
			continue
		}
		if strings.HasPrefix(l, host+" | ") {
			out = append(out, l)
		}
	}
	return out[max(0, len(out)-5):]
}

// errorLine picks the line that says what is wrong out of what Ansible printed.
func errorLine(out string) string {
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "ERROR!") {
			return strings.TrimSpace(strings.TrimPrefix(line, "ERROR!"))
		}
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}

func (b *build) firstFailure() string {
	b.console.mu.Lock()
	defer b.console.mu.Unlock()
	if f := b.console.failed; f != nil {
		return f.host + ": " + f.text
	}
	return "see the log"
}

// whyUnreachable is the last thing that SSH said, where it said something.
func (b *build) whyUnreachable() string {
	b.console.mu.Lock()
	defer b.console.mu.Unlock()
	if b.console.failed == nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(b.console.failed.text), "\n")
	return ": " + strings.TrimPrefix(strings.TrimSpace(lines[len(lines)-1]), "unreachable: ")
}

func mustJSON(v []string) []byte {
	if v == nil {
		v = []string{}
	}
	out, err := json.Marshal(v)
	if err != nil {
		panic("executor: strings cannot be written as JSON: " + err.Error())
	}
	return out
}
