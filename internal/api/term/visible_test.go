package term

import "testing"

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain text\n\tof two lines":             "plain text\n\tof two lines",
		"\x1b[1;31mred\x1b[0m and größer ✓":      "\x1b[1;31mred\x1b[0m and größer ✓",
		"\x1b[2J\x1b[Hall is well":               "␛[2J␛[Hall is well",
		"\x1b]52;c;cm0gLXJmIC8=\x07":             "␛]52;c;cm0gLXJmIC8=␇",
		"failed\rpassed \b\x7f\x00":              "failed␍passed ␈␡␀",
		"\u009b2J":                               "\uFFFD2J",
		"\x1b[38:5:1mx\x1b[31":                   "\x1b[38:5:1mx␛[31",
		"cut in the middle of a letter \xc3\x1b": "cut in the middle of a letter \xc3␛",
	} {
		if got := Visible(text); got != want {
			t.Errorf("%q shows as %q, want %q", text, got, want)
		}
	}
}
