package main

import (
	"io"
	"os"

	"golang.org/x/term"

	terminal "github.com/gozer-ci/gozer/internal/api/term"
)

// screen is a terminal to which commands write what others wrote, too: it obeys none of that but colours. What draws
// on it writes to the file itself.
type screen struct{ *os.File }

func (s screen) Write(p []byte) (int, error) {
	if _, err := io.WriteString(s.File, terminal.Visible(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString is Write, which io would pass over otherwise.
func (s screen) WriteString(text string) (int, error) { return s.Write([]byte(text)) }

// ReadFrom is not the file's, for the same reason.
func (s screen) ReadFrom(r io.Reader) (int64, error) { return io.Copy(writer{s}, r) }

// writer has no other way to be written to.
type writer struct{ io.Writer }

// screenOf is a file as commands write to it.
func screenOf(f *os.File) io.Writer {
	if term.IsTerminal(int(f.Fd())) {
		return screen{f}
	}
	return f
}
