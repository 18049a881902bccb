package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// What others wrote reaches a terminal as text, by whichever way it is written.
func TestTerminalsObeyOnlyColours(t *testing.T) {
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	out := screenOf(tty)
	if !isTerminal(out) {
		t.Error("a terminal is taken for none")
	}
	const title = "\x1b]52;c;cm0gLXJmIC8=\x07\x1b[32mgreen\x1b[0m\n"
	fmt.Fprint(out, title)
	if _, err := io.WriteString(out, title); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, strings.NewReader(title)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(master)
	for range 3 {
		if line, err := in.ReadString('\n'); err != nil || strings.TrimRight(line, "\r\n") != "␛]52;c;cm0gLXJmIC8=␇\x1b[32mgreen\x1b[0m" {
			t.Errorf("the terminal gets %q, %v", line, err)
		}
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fmt.Fprint(screenOf(file), title)
	if text, err := os.ReadFile(file.Name()); err != nil || string(text) != title {
		t.Errorf("a file gets %q, %v", text, err)
	}
}
