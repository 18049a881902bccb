package conformance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of Run.
type Options struct {
	// Dir holds the scenarios, itself or in a folder "scenarios". The fixtures are the folder "fixtures"
	// beside the scenarios, or, where there is none, Fixtures.
	Dir, Fixtures string
	// Out gets the report; nil discards it.
	Out io.Writer
	// Workers is how many scenarios run at once; 2 where it is 0.
	Workers int
	// Filter chooses scenarios by name; nil takes all.
	Filter *regexp.Regexp
	// Format is text (where it is empty) or json: one object a line and scenario.
	Format string
	// Excused maps the names of scenarios that may fail to the reasons.
	Excused map[string]string
	// Log shows what the system logged in scenarios that fail.
	Log bool
}

// Result is what became of one scenario.
type Result struct {
	Name   string  `json:"name"`
	Area   string  `json:"area"`
	Passed bool    `json:"passed"`
	Where  string  `json:"where,omitempty"`
	Reason string  `json:"reason,omitempty"`
	Excuse string  `json:"excuse,omitempty"`
	Took   float64 `json:"seconds"`
	log    string
}

// limit is how long one scenario may take. One takes seconds on a machine that has nothing else to do.
const limit = 2 * time.Minute

// Run replays the scenarios of a folder and counts those that passed, and those that failed without an
// excuse. An error means that it could not be done, not that a scenario failed.
func Run(ctx context.Context, o Options) (passed, failed int, err error) {
	results, err := Replay(ctx, o)
	for _, r := range results {
		switch {
		case r.Passed:
			passed++
		case r.Excuse == "":
			failed++
		}
	}
	if err != nil || o.Out == nil {
		return passed, failed, err
	}
	if o.Format == "json" {
		return passed, failed, writeJSON(o.Out, results)
	}
	return passed, failed, writeText(o.Out, results, o.Log)
}

// Replay is Run without a report: the results, by name.
func Replay(ctx context.Context, o Options) ([]Result, error) {
	paths, fixtures, err := find(o)
	if err != nil {
		return nil, err
	}
	if o.Workers <= 0 {
		o.Workers = 2
	}
	results := make([]Result, len(paths))
	next := make(chan int)
	var wg sync.WaitGroup
	for range o.Workers {
		wg.Go(func() {
			for i := range next {
				results[i] = replay(ctx, paths[i], fixtures)
				results[i].Excuse = o.Excused[results[i].Name]
			}
		})
	}
	for i := range paths {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return results, ctx.Err()
}

func find(o Options) (paths []string, fixtures string, err error) {
	dir := o.Dir
	if st, err := os.Stat(filepath.Join(dir, "scenarios")); err == nil && st.IsDir() {
		dir = filepath.Join(dir, "scenarios")
	}
	all, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, "", err
	}
	for _, p := range all {
		if o.Filter == nil || o.Filter.MatchString(strings.TrimSuffix(filepath.Base(p), ".yaml")) {
			paths = append(paths, p)
		}
	}
	if len(paths) == 0 {
		return nil, "", fmt.Errorf("no scenario in %s", dir)
	}
	for _, f := range []string{filepath.Join(dir, "fixtures"), filepath.Join(dir, "..", "fixtures"), o.Fixtures} {
		if st, err := os.Stat(f); f != "" && err == nil && st.IsDir() {
			fixtures, err = filepath.Abs(f)
			return paths, fixtures, err
		}
	}
	return nil, "", fmt.Errorf("no folder fixtures beside %s: %w", dir, fs.ErrNotExist)
}

// replay plays one scenario in a folder of its own; whatever happens in it stays in its result.
func replay(ctx context.Context, path, fixtures string) (r Result) {
	r.Name = strings.TrimSuffix(filepath.Base(path), ".yaml")
	began := time.Now()
	defer func() {
		if x := recover(); x != nil {
			r.Passed, r.Reason = false, fmt.Sprintf("panic: %v\n%s", x, debug.Stack())
		}
		r.Took = time.Since(began).Seconds()
	}()
	s, err := Load(path)
	if err != nil {
		r.Reason = err.Error()
		return r
	}
	r.Area = areaOf(s.Area)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		r.Reason = err.Error()
		return r
	}
	defer os.RemoveAll(dir)
	r.Where, r.log, err = play(ctx, s, dir, fixtures)
	if err != nil {
		r.Reason = err.Error()
		return r
	}
	r.Passed = true
	return r
}

// areaOf is the first word of what a scenario says that it is about; what may follow is a remark.
func areaOf(text string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	return strings.TrimRight(word, ":;,.")
}

// play runs the steps of a scenario; where is the place of the one that did not go through.
func play(ctx context.Context, s *Scenario, dir, fixtures string) (where, log string, err error) {
	place := func(st step) string { return fmt.Sprintf("%s:%d", s.Path, st.line) }
	// What jobs return about refs that are known beforehand holds before the system starts.
	early := slices.IndexFunc(s.steps, func(st step) bool { return st.name != "return" || value(st.arg, "ref") == nil })
	if early < 0 {
		early = len(s.steps)
	}
	w, err := newWorld(ctx, dir, fixtures, s, func(w *world) error {
		for _, st := range s.steps[:early] {
			if err := st.do(ctx, w, st.arg); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return s.Path, "", err
	}
	defer func() {
		log = w.log.String()
		if cerr := w.close(); err == nil && cerr != nil {
			where, err = s.Path, cerr
		}
	}()
	if err := w.settle(ctx); err != nil {
		return s.Path, "", err
	}
	for _, st := range s.steps[early:] {
		arg, err := w.expand(st.arg)
		if err == nil {
			err = st.do(ctx, w, arg)
		}
		if err != nil {
			return place(st), "", fmt.Errorf("%s: %w", st.name, err)
		}
	}
	return "", "", nil
}

func writeJSON(out io.Writer, results []Result) error {
	e := json.NewEncoder(out)
	for _, r := range results {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// area counts the scenarios of one area.
type area struct {
	name           string
	passed, failed int
}

func writeText(out io.Writer, results []Result, logs bool) error {
	var errs []error
	printf := func(format string, args ...any) {
		_, err := fmt.Fprintf(out, format, args...)
		errs = append(errs, err)
	}
	areas := map[string]*area{}
	passed, failed := 0, 0
	for _, r := range results {
		a := areas[r.Area]
		if a == nil {
			a = &area{name: r.Area}
			areas[r.Area] = a
		}
		if r.Passed {
			a.passed++
			passed++
			if r.Excuse != "" {
				printf("PASS %s: it passes, and needs no excuse\n", r.Name)
			}
			continue
		}
		a.failed++
		failed++
		word := "FAIL"
		if r.Excuse != "" {
			word = "EXCUSED"
		}
		printf("%s %s: %s: %s\n", word, r.Name, r.Where, strings.TrimSpace(r.Reason))
		if r.Excuse != "" {
			printf("    excused: %s\n", r.Excuse)
		}
		if logs {
			printf("%s\n", r.log)
		}
	}
	list := make([]*area, 0, len(areas))
	for _, a := range areas {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *area) int { return cmp.Compare(a.name, b.name) })
	for _, a := range list {
		printf("%-20s %3d passed, %d failed\n", a.name, a.passed, a.failed)
	}
	printf("%d passed, %d failed\n", passed, failed)
	return errors.Join(errs...)
}

// ReadExcused reads a file of excuses: a line each, the scenario's name, a space, the reason. Lines that
// begin with # are remarks.
func ReadExcused(text string) (map[string]string, error) {
	out := map[string]string{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, " ")
		if !ok || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("line %d: %s has no reason", i+1, name)
		}
		out[name] = strings.TrimSpace(reason)
	}
	return out, nil
}
