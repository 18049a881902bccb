package deps

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// gap stands in a text for what a run alone knows.
const gap = "\ufffd"

// words are what a task runs: the text of a command or of a shell, or of a script that it sends. Words of which
// a part is not known are left out.
func words(t *Task) string {
	var out []string
	for _, key := range []string{"_raw_params", "cmd"} {
		out = append(out, texts(t.Args[key])...)
	}
	out = append(out, strings.Join(texts(t.Args["argv"]), " "))
	if t.Script != "" {
		out = []string{t.Script}
	}
	text := strings.TrimSpace(strings.Join(out, " "))
	if strings.Contains(text, gap) {
		text = hidden.ReplaceAllString(text, "?")
	}
	return text
}

var hidden = regexp.MustCompile(`[^\s;|&]*` + gap + `[^\s;|&]*`)

// texts are the texts of an argument, those in which something is not known with gaps.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case map[string]any:
		return texts(v["partial"])
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, texts(e)...)
		}
		return out
	}
	return nil
}

// simple is one command of a shell: its program and the rest of its words.
type simple struct {
	program, rest string
}

var (
	separator = regexp.MustCompile(`\n|;|&&|\|\||\|`)
	heredoc   = regexp.MustCompile(`<<-?\s*["']?(\w+)["']?`)
	leading   = regexp.MustCompile(`^(?:(?:if|then|else|elif|while|until|do|!|exec|time|nohup|\(|\{|[A-Za-z_]\w*=\S*|sudo(?:\s+-\S+(?:\s+[a-z][\w-]*)?)*|env|nice(?:\s+-n\s*\d+)?|flock\s+(?:-\S+\s+)*\S+)\s+)+`)
)

// commands takes the text of a shell apart, as far as that goes without being one: what stands in here-documents and
// comments is no command.
func commands(text string) []simple {
	var lines []string
	end := ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if end != "" {
			if line == end {
				end = ""
			}
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		if m := heredoc.FindStringSubmatch(line); m != nil {
			end = m[1]
		}
		lines = append(lines, line)
	}
	var out []simple
	for _, part := range separator.Split(strings.Join(lines, "\n"), -1) {
		part = strings.TrimSpace(leading.ReplaceAllString(strings.TrimSpace(part), ""))
		if program, rest, _ := strings.Cut(part, " "); program != "" {
			out = append(out, simple{program, rest})
		}
	}
	return out
}

// paths are the absolute paths among words; those of which a variable names the end are left out.
func paths(text string) []string {
	var out []string
	for _, at := range aPath.FindAllStringIndex(text, -1) {
		if at[1] < len(text) && strings.ContainsRune("/$*{?\\", rune(text[at[1]])) {
			continue
		}
		out = append(out, strings.Trim(text[at[0]:at[1]], " =\t\n\"'"))
	}
	return out
}

// files are what a shell does with files that its words name: none of it is sure.
func files(task *Task, text string, hosts []string) []Access {
	var out []Access
	add := func(verb Verb, named, weak bool, name string) {
		for _, h := range hosts {
			out = append(out, Access{Resource: Resource{File, h, name}, Verb: verb, Task: task, Weak: weak, Named: named})
		}
	}
	list := commands(text)
	for _, c := range list {
		for _, m := range redirection.FindAllStringSubmatch(c.rest, -1) {
			add(Write, false, true, m[1])
		}
		rest := " " + redirection.ReplaceAllString(c.rest, " ")
		if strings.HasPrefix(c.program, "/") && aPath.MatchString(c.program) {
			add(Read, false, len(list) > 1, c.program)
		}
		name := path.Base(c.program)
		switch {
		case elsewhere.MatchString(name + rest):
			for _, m := range mounted.FindAllStringSubmatch(rest, -1) {
				if !generic[path.Clean(m[1])] {
					add(Read, true, true, m[1])
				}
			}
		case name == "test" || name == "[" || name == "[[" || name == "stat":
			for _, p := range paths(rest) {
				add(Test, true, true, p)
			}
		case name == "cp" || name == "mv" || name == "install":
			names := paths(rest)
			for i, p := range names {
				if i == len(names)-1 && i > 0 {
					add(Write, true, true, p)
				} else if name == "cp" {
					add(Read, true, true, p)
				}
			}
		case name == "tee":
			for _, p := range paths(rest) {
				add(Write, true, true, p)
			}
		case harmless[name]:
		default:
			for _, p := range paths(rest) {
				add(Read, true, true, p)
			}
		}
	}
	return slices.Clip(out)
}
