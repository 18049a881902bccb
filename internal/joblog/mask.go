package joblog

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"sort"
	"strings"
	"sync"
)

// Masked stands where a secret was.
const Masked = "********"

// shortest is the length from which on a string is masked: shorter ones would hit ordinary text, and
// tell where they are by their very masking.
const shortest = 5

// Mask hides secrets in text. The zero value hides nothing. It may be used by many at once.
type Mask struct {
	mu       sync.RWMutex
	words    map[string]bool
	replacer *strings.Replacer
	ordered  []string
	longest  int
}

// Add hides these strings from now on: as they are, line by line, in JSON, and in base64.
func (m *Mask) Add(secrets ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.words == nil {
		m.words = map[string]bool{}
	}
	for _, s := range secrets {
		m.add(s)
		m.add(strings.TrimSpace(s))
		for line := range strings.Lines(s) {
			m.add(strings.TrimSpace(line))
		}
		for _, j := range inJSON(s) {
			m.add(j)
		}
		m.add(strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(s)), "="))
	}
	m.ordered = m.ordered[:0]
	for w := range m.words {
		m.ordered = append(m.ordered, w)
	}
	// The longest first: a secret that contains another one is hidden whole.
	sort.Slice(m.ordered, func(i, j int) bool {
		a, b := m.ordered[i], m.ordered[j]
		return len(a) > len(b) || len(a) == len(b) && a < b
	})
	pairs := make([]string, 0, 2*len(m.ordered))
	for _, w := range m.ordered {
		pairs = append(pairs, w, Masked)
		m.longest = max(m.longest, len(w))
	}
	m.replacer = strings.NewReplacer(pairs...)
}

// inJSON is s as JSON has it: with and without escapes for HTML.
func inJSON(s string) (out []string) {
	for _, html := range []bool{true, false} {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(html)
		if e.Encode(s) == nil {
			out = append(out, strings.Trim(strings.TrimSpace(b.String()), `"`))
		}
	}
	return out
}

func (m *Mask) add(word string) {
	if len(word) >= shortest {
		m.words[word] = true
	}
}

// AddAll hides every string in v, which is as JSON brings it.
func (m *Mask) AddAll(v any) {
	switch v := v.(type) {
	case string:
		m.Add(v)
	case map[string]any:
		for _, x := range v {
			m.AddAll(x)
		}
	case []any:
		for _, x := range v {
			m.AddAll(x)
		}
	}
}

// String is s with the secrets hidden.
func (m *Mask) String(s string) string {
	if m == nil {
		return s
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.replacer == nil {
		return s
	}
	// Nearly all lines have none, and looking for each is much quicker than replacing.
	for _, w := range m.ordered {
		if strings.Contains(s, w) {
			return m.replacer.Replace(s)
		}
	}
	return s
}

// cut is the greatest i <= want such that no secret lies across i in s, and none that may still become
// one does: what is before i can be masked on its own.
func (m *Mask) cut(s string, want int) int {
	if m == nil {
		return want
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	i := min(want, max(0, len(s)-m.longest+1))
	for moved := true; moved; {
		moved = false
		for _, w := range m.ordered {
			from := max(0, i-len(w)+1)
			to := min(len(s), i+len(w)-1)
			if at := strings.Index(s[from:to], w); at >= 0 && from+at < i {
				i, moved = from+at, true
			}
		}
	}
	return i
}
