package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/config"
)

func problems() []config.Problem {
	src := config.Source{Project: change.Project{Name: "org/a"}, Branch: "main", Path: "zuul.d/x,y.yaml"}
	f := config.Parse(src, []byte("- job:\n    name: j\n    branches: ^(?!x)\n- job:\n    name: k\n    atempts: 1\n"), config.Options{})
	return f.Problems()
}

func write(t *testing.T, format string, list []config.Problem) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, format, list, nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	want := `org/a/zuul.d/x,y.yaml:3:5: warning: the regular expression "^(?!x)" is not in the RE2 dialect [Regex Deprecation]
  on branch main, in job j
      1 | - job:
      2 |     name: j
>     3 |     branches: ^(?!x)
      4 | - job:
      5 |     name: k
      6 |     atempts: 1
      7 |
  hint: write it for RE2, without look-around and back references; {regex: ..., negate: true} replaces a negative look-ahead

org/a/zuul.d/x,y.yaml:6:5: error: extra keys not allowed: "atempts" is not an attribute here [Configuration Syntax Error]
  on branch main, in job k
      2 |     name: j
      3 |     branches: ^(?!x)
      4 | - job:
      5 |     name: k
>     6 |     atempts: 1
      7 |
  hint: did you mean attempts?

1 error, 1 warning
`
	if d := cmp.Diff(want, write(t, "text", problems())); d != "" {
		t.Error(d)
	}
}

func TestJSON(t *testing.T) {
	var got struct {
		Problems         []config.Problem
		Errors, Warnings int
	}
	if err := json.Unmarshal([]byte(write(t, "json", problems())), &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(problems(), got.Problems); d != "" || got.Errors != 1 || got.Warnings != 1 {
		t.Errorf("%d errors, %d warnings: %s", got.Errors, got.Warnings, d)
	}
	if s := write(t, "json", nil); !strings.Contains(s, `"problems": []`) {
		t.Errorf("no problems are %s", s)
	}
}

func TestSARIF(t *testing.T) {
	var got sarifLog
	if err := json.Unmarshal([]byte(write(t, "sarif", problems())), &got); err != nil {
		t.Fatal(err)
	}
	r := got.Runs[0].Results
	if len(r) != 2 || r[1].RuleID != "configuration-syntax-error" || r[1].Level != "error" ||
		r[1].Locations[0].Physical.Artifact.URI != "org/a/zuul.d/x,y.yaml" || r[1].Locations[0].Physical.Region.StartLine != 6 {
		t.Errorf("%+v", r)
	}
}

func TestGitHub(t *testing.T) {
	lines := strings.Split(write(t, "github", problems()), "\n")
	want := `::error file=org/a/zuul.d/x%2Cy.yaml,line=6,endLine=6,col=5,title=Configuration Syntax Error::extra keys not allowed: "atempts" is not an attribute here (did you mean attempts?)`
	if len(lines) != 3 || lines[1] != want {
		t.Errorf("%q", lines)
	}
}

func TestUnknownFormat(t *testing.T) {
	if err := Write(&bytes.Buffer{}, "xml", nil, nil); err == nil || !strings.Contains(err.Error(), "sarif") {
		t.Errorf("%v", err)
	}
}
