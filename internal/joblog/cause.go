package joblog

import (
	"context"
	"strings"
)

// Failure is the first task of a log that failed and was not rescued: what people look for.
type Failure struct {
	Playbook, Task, Host string
	// Line is where the failure is told; Lines are the last ones that the host printed in the task, and
	// the first that tell of the failure, without times.
	Line  int
	Lines []string
}

// How much of a log is told of a failure.
const (
	beforeFailure = 8
	afterFailure  = 8 // the whole of a failed command
)

// Failure finds it; nil where no task failed.
func (r *Reader) Failure(ctx context.Context) (*Failure, error) {
	i := r.Index()
	f, begin := i.failure()
	if f == nil {
		return nil, nil
	}
	before, err := r.ReadLines(ctx, max(begin, f.Line-50), f.Line-max(begin, f.Line-50))
	if err != nil {
		return nil, err
	}
	for _, l := range before {
		l = text(l)
		if strings.HasPrefix(l, "TASK [") || strings.HasPrefix(l, "LOOP [") || strings.TrimSpace(l) == "" {
			f.Lines = nil
			continue
		}
		if f.Host == "" || strings.HasPrefix(l, f.Host+" | ") {
			f.Lines = append(f.Lines, l)
		}
	}
	f.Lines = f.Lines[max(0, len(f.Lines)-beforeFailure):]
	after, err := r.ReadLines(ctx, f.Line, afterFailure)
	if err != nil {
		return nil, err
	}
	for _, l := range after {
		if l = text(l); f.Host != "" && !strings.HasPrefix(l, f.Host+" | ") {
			break
		}
		f.Lines = append(f.Lines, l)
	}
	return f, nil
}

// failure is the first failure that the marks tell of, and the line at which its task begins.
func (i Index) failure() (f *Failure, begin int) {
	playbook := ""
	for _, m := range i.Marks {
		switch m.Kind {
		case "playbook":
			playbook, begin = m.Name, m.Line
		case "task", "play":
			begin = m.Line
		case "failure":
			return &Failure{Playbook: playbook, Task: m.Name, Host: m.Host, Line: m.Line}, begin
		}
	}
	return nil, 0
}

// text is a line without its time, and not longer than people read.
func text(line string) string {
	_, rest, ok := strings.Cut(line, " | ")
	if !ok {
		rest = line
	}
	const most = 500
	if len(rest) > most {
		rest = strings.ToValidUTF8(rest[:most], "") + "…"
	}
	return rest
}
