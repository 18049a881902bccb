package term

import (
	"strings"
	"unicode/utf8"
)

// Visible is a text as it may be written to a terminal: titles, names and logs are what others wrote, and a terminal
// obeys what it reads (it moves the cursor over other lines, fills the clipboard). Line ends, tabs and colours stay; of
// all other control characters the sign is shown.
func Visible(text string) string {
	if plain(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == '\x1b' && colour(text[i:]) > 0:
			n = colour(text[i:])
			b.WriteString(text[i : i+n])
		case r == '\n', r == '\t', r >= ' ' && r < 0x7f, r > 0x9f:
			b.WriteString(text[i : i+n])
		case r < ' ':
			b.WriteRune('\u2400' + r)
		case r == 0x7f:
			b.WriteRune('\u2421')
		default: // the same once more, as one character
			b.WriteRune(utf8.RuneError)
		}
		i += n
	}
	return b.String()
}

// plain tells whether there is nothing but letters and line ends of ASCII in a text, as in nearly all.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\n' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// colour is the length of the sequence for colours and weights that a text begins with; 0, where it begins with
// another one or none.
func colour(text string) int {
	rest, ok := strings.CutPrefix(text, "\x1b[")
	if !ok {
		return 0
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != ';' && r != ':' })
	if end < 0 || rest[end] != 'm' {
		return 0
	}
	return 2 + end + 1
}
