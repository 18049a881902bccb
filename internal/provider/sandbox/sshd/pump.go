package sshd

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// quiet is for how long a pipe must have nothing to read, after its process ended, to be empty. All
// that the process wrote is in the pipe by then; what is waited for is only the read itself.
const quiet = 20 * time.Millisecond

// pump copies from r to w until r ends, or until exited is closed and r has nothing more. The second
// matters: a daemon that a command left behind often keeps the command's output open, and a client
// that waited for its end would wait for ever. The channel is closed at the end.
func pump(w io.Writer, r *os.File, exited <-chan struct{}) <-chan struct{} {
	done := make(chan struct{})
	stop := make(chan struct{})
	go func() { // a read that blocks must hear of the exit
		select {
		case <-exited:
			_ = r.SetReadDeadline(time.Now().Add(quiet))
		case <-stop:
		}
	}()
	go func() {
		defer close(done)
		defer close(stop)
		copyUntilQuiet(w, r, exited)
	}()
	return done
}

func copyUntilQuiet(w io.Writer, r *os.File, exited <-chan struct{}) {
	buf := make([]byte, 32<<10)
	over := false
	for {
		select {
		case <-exited:
			over = true
			_ = r.SetReadDeadline(time.Now().Add(quiet))
		default:
		}
		wasOver := over
		n, err := r.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				// Nobody listens; the process must not block on a full pipe.
				w = io.Discard
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && !wasOver {
			continue // the deadline of the exit: one read more with a fresh one
		}
		if err != nil {
			return
		}
	}
}

// hostPort splits a TCP address.
func hostPort(a net.Addr) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(a.String())
	return host, port, err == nil
}
