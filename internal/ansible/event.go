package ansible

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Event is one thing that a running playbook told.
type Event struct {
	// Kind: play, task, line, text, result, unreachable, failing, stats, record.
	Kind string `json:"e"`
	Host string `json:"h"`
	// Name of the play or task; Task of a result's task; Path is file:line.
	Name   string `json:"n"`
	Task   string `json:"task"`
	TaskID string `json:"u"`
	Path   string `json:"p"`
	Action string `json:"a"`
	// Heading is TASK or LOOP.
	Heading string `json:"k"`
	// Text of a line, result, or piece of a record (the inside of a JSON object); Stream is stdout or stderr where the job has them split.
	Text   string `json:"x"`
	Stream string `json:"s"`
	// More: the line goes on with the next of the same host and stream, the record with the next piece.
	More bool `json:"more"`
	// State of a result: ok, changed, skipping, failed, ignored; said, where it is shown without host and state, as
	// what debug says is; hidden, where only the host may be told.
	State string `json:"st"`
	// Detail of a failed result is JSON for people, Trace what Python said; Why is the reason in short, where it is not Text.
	Detail string `json:"d"`
	Trace  string `json:"trace"`
	Why    string `json:"why"`
	// Broken: the module itself failed. Rescued: a block around the task takes care of its failure.
	Broken  bool `json:"broken"`
	Rescued bool `json:"rescued"`

	Hosts map[string]map[string]int `json:"hosts"`
}

// Lines is the event as the job's console shows it, without time stamps; some events show nothing.
func (e *Event) Lines() []string {
	switch e.Kind {
	case "play":
		return []string{"", fmt.Sprintf("PLAY [%s]", e.Name)}
	case "task":
		return []string{"", fmt.Sprintf("%s [%s]", e.Heading, e.Name)}
	case "text":
		return strings.Split(e.Text, "\n")
	case "line":
		if e.Stream != "" {
			return []string{e.Host + " | " + e.Stream + ": " + e.Text}
		}
		return []string{e.Host + " | " + e.Text}
	case "result":
		return e.result()
	case "unreachable":
		return []string{e.Host + " | UNREACHABLE: " + e.Text}
	case "stats":
		return e.stats()
	}
	return nil
}

// Reason is why a result failed.
func (e *Event) Reason() string {
	if e.Why != "" {
		return e.Why
	}
	return e.Text
}

// result is a result in the form of Zuul's console.
func (e *Event) result() []string {
	text := strings.Split(strings.Trim(e.Text, "\n"), "\n")
	if e.State == "said" {
		return text
	}
	head := e.Host + " | " + e.word()
	switch {
	case e.State == "hidden":
		return []string{e.Host + " | " + e.Text}
	case len(text) > 1:
		text = append([]string{head + ":"}, prefixed(e.Host, text)...)
	case text[0] != "":
		text = []string{head + ": " + text[0]}
	default:
		text = []string{head}
	}
	for _, more := range []string{e.Detail, e.Trace} {
		if more != "" {
			text = append(text, prefixed(e.Host, strings.Split(strings.TrimRight(more, "\n"), "\n"))...)
		}
	}
	if e.State == "ignored" {
		text = append(text, e.Host+" | ERROR: Ignoring Errors")
	}
	return text
}

// word is the state as it is shown.
func (e *Event) word() string {
	switch {
	case e.Broken:
		return "MODULE FAILURE"
	case e.State == "failed", e.State == "ignored":
		return "ERROR"
	}
	return e.State
}

func prefixed(host string, lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = host + " | " + l
	}
	return out
}

func (e *Event) stats() []string {
	out := []string{"", "PLAY RECAP"}
	for _, h := range slices.Sorted(maps.Keys(e.Hosts)) {
		n := e.Hosts[h]
		out = append(out, fmt.Sprintf("%s | ok: %d changed: %d unreachable: %d failed: %d skipped: %d rescued: %d ignored: %d",
			h, n["ok"], n["changed"], n["unreachable"], n["failures"], n["skipped"], n["rescued"], n["ignored"]))
	}
	return append(out, "")
}
