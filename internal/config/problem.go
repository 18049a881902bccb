package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/gozer-ci/gozer/internal/job"
)

// Source is the project, branch and path of a file of configuration. Trusted: it belongs to a config
// project.
type Source = job.Source

// Severity of a problem.
type Severity string

// A problem of severity Error keeps a proposed change from running; a Warning is only told.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Names of problems, as Zuul's API and UI know them.
const (
	NameUnknown               = "Unknown"
	NameSyntax                = "Configuration Syntax Error"
	NameProjectNotFound       = "Project Not Found"
	NameLabelForbidden        = "Label Forbidden"
	NameMaxTimeout            = "Max Timeout Exceeded"
	NameMaxNodes              = "Max Nodes Exceeded"
	NameDuplicateNode         = "Duplicate Node"
	NameDuplicateGroup        = "Duplicate Nodeset Group"
	NameNodeFromGroup         = "Node From Group Not Found"
	NameNodesetNotFound       = "Nodeset Not Found"
	NameTemplateNotFound      = "Template Not Found"
	NameJobNotFound           = "Job Not Found"
	NameSecretNotFound        = "Secret Not Found"
	NamePipelineForbidden     = "Pipeline Forbidden"
	NameProjectForbidden      = "Project Forbidden"
	NameUnknownConnection     = "Unknown Connection"
	NameGlobalSemaphore       = "Global Semaphore Not Found"
	NameRegexDeprecation      = "Regex Deprecation"
	NameCleanupDeprecation    = "Cleanup Run Deprecation"
	NameMultipleConfigs       = "Multiple Project Configurations"
	NameDuplicateDefinition   = "Duplicate Definition"
	NameJobGraph              = "Job Graph Error"
	NameTimer                 = "Timer"              // a remark
	NamePipelineNotFound      = "Pipeline Not Found" // a warning of `gozer config check` only
	NameSecretDecryption      = "Secret Decryption Failed"
	NameConfigProjectUnmerged = "Unmerged Config Project"
)

// named are the names that Zuul gives to problems as well. What has no name there is Unknown to its clients.
var named = map[string]bool{NameProjectNotFound: true, NameLabelForbidden: true, NameMaxTimeout: true, NameDuplicateNode: true,
	NameDuplicateGroup: true, NameNodeFromGroup: true, NameNodesetNotFound: true, NameTemplateNotFound: true,
	NamePipelineForbidden: true, NameProjectForbidden: true, NameUnknownConnection: true, NameGlobalSemaphore: true,
	NameRegexDeprecation: true, NameCleanupDeprecation: true, NameMultipleConfigs: true}

// IsNamed tells whether somebody who asks for problems called asked means those with a name: it may be Zuul's, to which
// all that it has no name for is Unknown.
func IsNamed(name, asked string) bool {
	return name == asked || asked == NameUnknown && !named[name]
}

// Problem is one thing that is wrong with the configuration. All text is for people; Name, Severity
// and the place are for programs.
type Problem struct {
	Severity Severity `json:"severity"`
	Name     string   `json:"name"`
	Source   Source   `json:"source"`
	// Line and EndLine bound the attribute (or the object, where no attribute is to blame), counted
	// from 1; 0 where the problem has no place. Column is that of the first character, from 1.
	Line    int `json:"line,omitempty"`
	EndLine int `json:"end_line,omitempty"`
	Column  int `json:"column,omitempty"`
	// Object is the kind of declaration that it is in (job, project...), Declared its name.
	Object   string `json:"object,omitempty"`
	Declared string `json:"declared,omitempty"`
	// Short says what is wrong in one sentence; Text is the whole message, with place and snippet.
	Short string `json:"short"`
	Text  string `json:"text"`
	// Hint says what to do about it, where that is known.
	Hint string `json:"hint,omitempty"`
	// Snippet is the source around the place, four lines before and after.
	Snippet string `json:"snippet,omitempty"`
}

// Identity is equal for two problems that are the same problem of two layouts: it covers project,
// branch, path, line, snippet and what is wrong.
func (p *Problem) Identity() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%d\x00%s\x00%s", p.Source.Project.Canonical(), p.Source.Branch, p.Source.Path,
		p.Line, p.Snippet, p.Short)
	return hex.EncodeToString(h.Sum(nil))
}

// Where is path:line, with the project and branch where they are known.
func (p *Problem) Where() string {
	var b strings.Builder
	if p.Source.Project.Name != "" {
		b.WriteString(p.Source.Project.Name)
		b.WriteByte('/')
	}
	b.WriteString(p.Source.Path)
	if p.Source.Branch != "" {
		b.WriteByte('@')
		b.WriteString(p.Source.Branch)
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	return b.String()
}

// In is p as it appears in the file at src, with its full text.
func (p Problem) In(src Source) Problem {
	p.Source = src
	p.Text = p.full()
	return p
}

func (p *Problem) full() string {
	var b strings.Builder
	kind := "a syntax error"
	if p.Severity == Warning {
		kind = "a deprecated syntax"
	}
	fmt.Fprintf(&b, "Zuul encountered %s in the configuration", kind)
	if p.Source.Project.Name != "" {
		fmt.Fprintf(&b, " of %s", p.Source.Project.Name)
	}
	if p.Source.Branch != "" {
		fmt.Fprintf(&b, " on branch %s", p.Source.Branch)
	}
	b.WriteString(".\n\n")
	b.WriteString(indent(p.Short))
	if p.Hint != "" {
		b.WriteString("\n\n" + indent(p.Hint))
	}
	if p.Snippet != "" {
		if p.Object != "" {
			fmt.Fprintf(&b, "\n\nIt is in this %s stanza:\n\n", p.Object)
		} else {
			b.WriteString("\n\nIt is here:\n\n")
		}
		b.WriteString(indent(p.Snippet))
	}
	if p.Source.Path != "" {
		fmt.Fprintf(&b, "\n\n  in %q", p.Source.Project.Name+"/"+p.Source.Path+"@"+p.Source.Branch)
		if p.Line > 0 {
			fmt.Fprintf(&b, ", line %d", p.Line)
		}
	}
	return b.String()
}

func indent(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = "  " + l
		}
	}
	return strings.Join(lines, "\n")
}

// Span is a place in a file: lines and the first column, counted from 1. The zero Span is no place.
type Span struct {
	Line    int `json:"line"`
	EndLine int `json:"end_line"`
	Column  int `json:"column"`
}

// snippetContext is how many lines before and after a place are shown.
const snippetContext = 4

// snippetWidth bounds a shown line: a minified file must not make a report of a megabyte.
const snippetWidth = 200

func snippet(lines []string, s Span) string {
	if s.Line <= 0 || s.Line > len(lines) {
		return ""
	}
	from := max(s.Line-1-snippetContext, 0)
	to := min(min(max(s.EndLine, s.Line), s.Line+2*snippetContext)+snippetContext, len(lines))
	out := make([]string, 0, to-from)
	for _, l := range lines[from:to] {
		if len(l) > snippetWidth {
			l = strings.ToValidUTF8(l[:snippetWidth], "") + "..."
		}
		out = append(out, strings.TrimRight(l, "\r"))
	}
	return strings.Join(out, "\n")
}
