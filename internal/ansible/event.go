package ansible

import (
	"encoding/json"
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
	// Heading is TASK, LOOP or HANDLER.
	Heading string `json:"k"`
	// Text of a line, result, or piece of a record (the inside of a JSON object); Stream is stdout or stderr where the job has them split.
	Text   string `json:"x"`
	Stream string `json:"s"`
	// More: the line goes on with the next of the same host and stream, the record with the next piece.
	More bool `json:"more"`
	// State of a result: ok, changed, skipped, failed, ignored.
	State string `json:"st"`
	Delta string `json:"delta"`
	Item  string `json:"item"`
	Trace string `json:"trace"`
	RC    *int   `json:"rc"`

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

func (e *Event) result() []string {
	state := e.State
	if state == "failed" || state == "ignored" {
		state = "ERROR"
	}
	var text string
	switch {
	case e.Delta != "" && e.State != "failed" && e.State != "ignored":
		text = "Runtime: " + e.Delta
		if e.Item != "" {
			text = "Item: " + e.Item + " " + text
		}
	case e.Delta != "":
		text = failedCommand(e)
	case e.Item != "" && e.Text == "":
		text = "Item: " + e.Item
	default:
		text = e.Text
	}
	out := []string{}
	for i, line := range strings.Split(text, "\n") {
		switch {
		case i == 0 && line == "":
			out = append(out, e.Host+" | "+state)
		case i == 0:
			out = append(out, e.Host+" | "+state+": "+line)
		default:
			out = append(out, e.Host+" |   "+line)
		}
	}
	if e.Trace != "" {
		for _, line := range strings.Split(strings.TrimRight(e.Trace, "\n"), "\n") {
			out = append(out, e.Host+" |   "+line)
		}
	}
	if e.State == "ignored" {
		out = append(out, e.Host+" | (ignored)")
	}
	return out
}

func failedCommand(e *Event) string {
	rc := 0
	if e.RC != nil {
		rc = *e.RC
	}
	b, err := json.MarshalIndent(map[string]any{"delta": e.Delta, "msg": e.Text, "rc": rc}, "", "  ")
	if err != nil {
		return e.Text
	}
	return "\n" + string(b)
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
