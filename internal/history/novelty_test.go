package history

import (
	"fmt"
	"testing"
	"time"
)

func TestCompare(t *testing.T) {
	end := time.Date(2030, 1, 2, 3, 4, 0, 0, time.UTC)
	b := &Build{UUID: "b", Result: "FAILURE", Detail: "Task \"test\" failed on node\nmore", Ref: Ref{Change: "9", Canonical: "p"}}
	past := func(list ...string) (out []Build) {
		for i, s := range list {
			o := Build{UUID: fmt.Sprint(i), Result: "SUCCESS", Ended: end.Add(-time.Duration(i) * time.Hour), Ref: Ref{Change: fmt.Sprint(i + 1), Canonical: "p"}}
			switch s {
			case "f":
				o.Result, o.Detail = "FAILURE", "another"
			case "same":
				o.Result, o.Detail = "FAILURE", "Task \"test\" failed on node\nother lines"
			case "own":
				o.Result, o.Ref.Change = "FAILURE", "9"
			case "canceled":
				o.Result = "CANCELED"
			}
			out = append(out, o)
		}
		return out
	}
	for _, c := range []struct {
		past []Build
		want string
	}{
		{nil, "There are no earlier builds of this job to compare with."},
		{past("own"), "There are no earlier builds of this job to compare with."},
		{past("own", "s", "s"), "New: the last 2 builds of this job for other changes succeeded, the newest success 2030-01-02 02:04 UTC (change 2)."},
		{past("canceled", "s"), "New: the last build of this job for other changes succeeded, the newest success 2030-01-02 02:04 UTC (change 2)."},
		{past("s", "same", "s", "f"), "New, or by chance: the newest builds for other changes succeeded, but 2 of the last 4 failed, 1 with the same error."},
		{past("same", "same", "s"), "Not new: the last 2 builds of this job for other changes failed, too, with the same error, since 2030-01-02 02:04 UTC (change 2); the last success was 2030-01-02 01:04 UTC (change 3)."},
		{past("f"), "Not new: the last build of this job for other changes failed, too; none is known to have succeeded."},
	} {
		if got := Compare(b, c.past).String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
