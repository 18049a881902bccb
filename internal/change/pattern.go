package change

import (
	"regexp"
	"sync"
	"time"

	"github.com/dlclark/regexp2"
)

// engine is what the two dialects have in common.
type engine interface {
	matchAt(s string) (start int, ok bool)
}

type re2 struct{ *regexp.Regexp }

func (r re2) matchAt(s string) (int, bool) {
	loc := r.FindStringIndex(s)
	if loc == nil {
		return 0, false
	}
	return loc[0], true
}

type perl struct{ *regexp2.Regexp }

func (r perl) matchAt(s string) (int, bool) {
	m, err := r.FindStringMatch(s)
	if err != nil || m == nil {
		return 0, false
	}
	return m.Index, true
}

// perlTimeout bounds one match of a Perl-style pattern, which may backtrack for ever.
const perlTimeout = time.Second

// compiled caches engines by pattern; patterns come from configuration, so there are few.
var compiled sync.Map

type compiledKey struct {
	text string
	perl bool
	full bool
}

// Compile checks the pattern and finds its dialect: RE2 first, else Perl-style (Perl is then set).
// The error tells why RE2 refuses it, where both do.
func Compile(text string, negate bool) (Pattern, error) {
	_, err := regexp.Compile(text)
	if err == nil {
		return Pattern{Regex: text, Negate: negate}, nil
	}
	if _, perr := regexp2.Compile(text, regexp2.None); perr == nil {
		return Pattern{Regex: text, Negate: negate, Perl: true}, nil
	}
	return Pattern{}, err
}

func (p Pattern) engine(anchored bool) engine {
	k := compiledKey{p.Regex, p.Perl, anchored}
	if e, ok := compiled.Load(k); ok {
		return e.(engine)
	}
	text := p.Regex
	if anchored {
		text = `\A(?:` + text + `)`
	}
	var e engine
	if p.Perl {
		// Compile said that it is well-formed; configuration that skipped it is a programming error.
		re := regexp2.MustCompile(text, regexp2.None)
		re.MatchTimeout = perlTimeout
		e = perl{re}
	} else {
		e = re2{regexp.MustCompile(text)}
	}
	compiled.Store(k, e)
	return e
}

// Match tells whether s matches from its start on (there is no implied anchor at the end), with
// Negate taken into account.
func (p Pattern) Match(s string) bool {
	if p.Exact {
		return (p.Regex == s) != p.Negate
	}
	_, ok := p.engine(true).matchAt(s)
	return ok != p.Negate
}

// Search tells whether s matches anywhere.
func (p Pattern) Search(s string) bool {
	if p.Exact {
		return (p.Regex == s) != p.Negate
	}
	_, ok := p.engine(false).matchAt(s)
	return ok != p.Negate
}
