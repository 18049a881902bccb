package joblog

import (
	"strings"
	"unicode/utf8"
)

// Longest is how many bytes a line of a log can have; longer ones are split.
const Longest = 50 << 10

// room is what a line has for the name of a host before the text.
const room = 1 << 10

// held is how much of a line without an end is kept in memory.
const held = 1 << 20

// Pieces puts a line that comes in pieces together again, as far as that is needed to mask what lies
// across their borders.
type Pieces struct {
	mask *Mask
	part strings.Builder
}

// NewPieces puts together lines in which mask hides secrets.
func NewPieces(mask *Mask) *Pieces { return &Pieces{mask: mask} }

// Add takes the next piece of a line (more) or its last one, and gives the text that is ready to be
// shown, masked, in lines that leave room for who said it.
func (p *Pieces) Add(text string, more bool) []string {
	if p.part.Len() == 0 && !more && len(text) <= Longest-room {
		return []string{p.mask.String(text)}
	}
	p.part.WriteString(text)
	all := p.part.String()
	if !more {
		p.part.Reset()
		return split(p.mask.String(all), Longest-room)
	}
	if len(all) < held {
		return nil
	}
	at := p.mask.cut(all, len(all))
	p.part.Reset()
	p.part.WriteString(all[at:])
	if at == 0 {
		return nil
	}
	return split(p.mask.String(all[:at]), Longest-room)
}

func split(s string, longest int) []string {
	var out []string
	for len(s) > longest {
		at := longest
		for at > longest-utf8.UTFMax && !utf8.RuneStart(s[at]) {
			at--
		}
		out = append(out, s[:at])
		s = s[at:]
	}
	return append(out, s)
}
