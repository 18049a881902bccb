package local

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
)

// git's wire format: lines with their length in four hexadecimal digits in front, 0000 ends a section.

// maxLine is the longest line of the protocol, its length included.
const maxLine = 65520

// readLine reads one line; flush is true at the end of a section.
func readLine(r *bufio.Reader) (line []byte, flush bool, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, false, err
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("%q is no length of a line", head[:])
	case n == 0:
		return nil, true, nil
	case n < 4 || n > maxLine:
		return nil, false, fmt.Errorf("a line of %d bytes", n)
	}
	line = make([]byte, n-4)
	_, err = io.ReadFull(r, line)
	return line, false, err
}

// lines writes the wire format and keeps the first error.
type lines struct {
	w   io.Writer
	err error
}

func (l *lines) line(text string) {
	if l.err == nil {
		_, l.err = fmt.Fprintf(l.w, "%04x%s", len(text)+4, text)
	}
}

func (l *lines) flush() {
	if l.err == nil {
		_, l.err = io.WriteString(l.w, "0000")
	}
}

// Bands of an answer: what the client's program reads, and what its user does.
const (
	bandReport  = 1
	bandMessage = 2
)

// band writes text on a band, in as many lines as it takes.
func (l *lines) band(n byte, text string) {
	const most = maxLine - 5
	for len(text) > 0 {
		part := text[:min(len(text), most)]
		text = text[len(part):]
		l.line(string(n) + part)
	}
}
