package knock

import (
	"bytes"
	"sync"
)

// Output keeps the beginning of what is written to it, at most Most bytes: what a node says is as long as the node
// likes. Standard output and error may be the same Output.
type Output struct {
	Most int

	mu   sync.Mutex
	kept bytes.Buffer
	more bool
}

// Write takes everything, and never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(p), o.Most-o.kept.Len())
	o.more = o.more || n < len(p)
	_, _ = o.kept.Write(p[:n]) // it grows, or panics
	return len(p), nil
}

// Bytes are what was kept; whole tells whether that is all.
func (o *Output) Bytes() (kept []byte, whole bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept.Bytes(), !o.more
}

func (o *Output) String() string {
	kept, _ := o.Bytes()
	return string(kept)
}
