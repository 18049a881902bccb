package deps

import (
	"fmt"
	"testing"
	"time"
)

func TestStale(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2030, 1, 1, 0, 0, s, 0, time.UTC) }
	did := func(verb Verb, name string, changed bool, begin, end int) Observed {
		return Observed{Resource: Resource{File, "static01", name}, Verb: verb, Task: string(verb) + " " + name, Changed: changed, Begin: at(begin), End: at(end)}
	}
	for name, c := range map[string]struct {
		writer, reader []Observed
		want           string
	}{
		"read before it was written":        {[]Observed{did(Write, "/srv/status", true, 5, 6)}, []Observed{did(Read, "/srv/status", false, 1, 2)}, `file /srv/status on static01 was read by "read /srv/status" before "write /srv/status" altered it`},
		"read while it was written":         {[]Observed{did(Write, "/srv/status", true, 5, 7)}, []Observed{did(Read, "/srv/status", false, 6, 8)}, `file /srv/status on static01 was read by "read /srv/status" before "write /srv/status" altered it`},
		"read afterwards":                   {[]Observed{did(Write, "/srv/status", true, 5, 6)}, []Observed{did(Read, "/srv/status", false, 6, 7)}, ""},
		"written, and nothing was altered":  {[]Observed{did(Write, "/srv/status", false, 5, 6)}, []Observed{did(Read, "/srv/status", false, 1, 2)}, ""},
		"another file":                      {[]Observed{did(Write, "/srv/status", true, 5, 6)}, []Observed{did(Read, "/srv/other", false, 1, 2)}, ""},
		"both write":                        {[]Observed{did(Write, "/srv/status", true, 5, 6)}, []Observed{did(Write, "/srv/status", true, 1, 2)}, ""},
		"read twice, once too early":        {[]Observed{did(Write, "/srv/status", true, 5, 6)}, []Observed{did(Read, "/srv/status", false, 8, 9), did(Read, "/srv/status", false, 1, 2)}, `file /srv/status on static01 was read by "read /srv/status" before "write /srv/status" altered it`},
		"written once before and once late": {[]Observed{did(Write, "/srv/status", true, 1, 2), did(Write, "/srv/status", true, 8, 9)}, []Observed{did(Read, "/srv/status", false, 5, 6)}, `file /srv/status on static01 was read by "read /srv/status" before "write /srv/status" altered it`},
	} {
		got := ""
		if h := Stale(c.writer, c.reader); h != nil {
			got = fmt.Sprintf("%s was read by %q before %q altered it", h.Resource, h.Read.Task, h.Wrote.Task)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
