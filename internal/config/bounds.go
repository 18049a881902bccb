package config

import (
	"unicode/utf8"
)

// Limits of one file. A file beyond them is refused with a clear problem instead of being read slowly.
const (
	// MaxBytes bounds the size of one file.
	MaxBytes = 8 << 20
	// maxDepth bounds how deep values nest.
	maxDepth = 100
	// maxValues bounds the values of one file, as written and after aliases are followed.
	maxValues = 1_000_000
)

// notText finds the first byte that no text file has: invalid UTF-8 or a control character that YAML
// forbids; -1 where there is none.
func notText(data []byte) int {
	for i := 0; i < len(data); {
		c := data[i]
		if c < utf8.RuneSelf {
			if c < 0x20 && c != '\n' && c != '\t' && c != '\r' || c == 0x7f {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// signs counts what values begin with or end at, before the library makes nodes of them that take a hundred times the
// room: colons, dashes and commas before a space or the end of a line. Text has them too, so it is no exact count.
func signs(data []byte) int {
	n := 0
	for i, c := range data {
		if (c == ':' || c == '-' || c == ',') && (i+1 == len(data) || data[i+1] == ' ' || data[i+1] == '\n') {
			n++
		}
	}
	return n
}

// maxBrackets bounds how many flow brackets may be open at once, and how many block collections may
// begin in one line, before the library is asked: it takes quadratic time for such text. Brackets in
// comments and scalars are counted too, which does no harm with so high a bound in real files, as
// closing brackets balance them.
const maxBrackets = 1000

func tooDeep(data []byte) int {
	line, open, dashes := 1, 0, 0
	start := true
	for i, c := range data {
		switch c {
		case '\n':
			line, dashes, start = line+1, 0, true
		case '[', '{':
			open++
			start = false
		case ']', '}':
			open = max(open-1, 0)
			start = false
		case '-', '?':
			if start && i+1 < len(data) && data[i+1] == ' ' {
				dashes++
			}
		case ' ', '\t':
		default:
			start = false
		}
		if open > maxBrackets || dashes > maxDepth {
			return line
		}
	}
	return 0
}
