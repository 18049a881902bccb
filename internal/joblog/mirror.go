package joblog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Peer is the Handler of another process.
type Peer struct {
	URL, Token string
}

// frame is a piece of a log on its way to another process: whole lines, and the marks that are new.
type frame struct {
	Text  string `json:"text,omitempty"`
	Marks []Mark `json:"marks,omitempty"`
	Done  bool   `json:"done,omitempty"`
}

// mirror is a copy, in this process, of a log that another one writes: however many read it here, it
// crosses the network once. It goes when nobody has read it for a while.
type mirror struct {
	w       *Writer
	path    string
	readers int
	stop    context.CancelFunc
}

// Pauses of mirrors: before one that nobody reads ends, between two attempts to reach the other process,
// and until a log whose process is gone is given up.
const (
	mirrorIdle  = 10 * time.Second
	mirrorPause = 500 * time.Millisecond
	mirrorLost  = 30 * time.Second
)

// mirrored opens a mirror that is there.
func (l *Logs) mirrored(build string) *Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.mirrors[build]
	if m == nil {
		return nil
	}
	f, err := os.Open(m.path)
	if err != nil {
		return nil
	}
	m.readers++
	r := liveReader(m.w, f)
	r.leave = func() { l.left(build, m) }
	return r
}

// left counts a reader less.
func (l *Logs) left(build string, m *mirror) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.readers--; m.readers > 0 {
		return
	}
	time.AfterFunc(mirrorIdle, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if m.readers == 0 && l.mirrors[build] == m {
			delete(l.mirrors, build)
			m.stop()
		}
	})
}

// follow begins a mirror of a log that is written elsewhere.
func (l *Logs) follow(ctx context.Context, build string) (*Reader, error) {
	peer, err := l.cfg.Elsewhere(ctx, build)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	if l.mirrors[build] == nil {
		// Each has a file of its own: an earlier one may still be on its way out.
		f, err := os.CreateTemp(l.cfg.Dir, build+"-*.mirror")
		if err != nil {
			l.mu.Unlock()
			return nil, err
		}
		m := &mirror{path: f.Name()}
		m.w = &Writer{logs: l, build: build, file: f, changed: make(chan struct{})}
		var mctx context.Context
		mctx, m.stop = context.WithCancel(context.WithoutCancel(ctx)) // ends with its last reader
		l.mirrors[build] = m
		go l.copy(mctx, build, m, peer)
	}
	l.mu.Unlock()
	if r := l.mirrored(build); r != nil {
		return r, nil
	}
	return nil, ErrNotFound
}

// copy keeps a mirror up to date until the log is done or nobody reads it.
func (l *Logs) copy(ctx context.Context, build string, m *mirror, peer Peer) {
	defer func() {
		l.mu.Lock()
		if l.mirrors[build] == m && ctx.Err() != nil {
			delete(l.mirrors, build)
		}
		l.mu.Unlock()
		<-ctx.Done()
		_ = m.w.file.Close()
		_ = os.Remove(m.path)
	}()
	silent := time.Now() // since when nobody answers
	for ctx.Err() == nil {
		answered, err := m.w.receive(ctx, l.cfg.Client, peer)
		if err == nil {
			return
		}
		if answered {
			silent = time.Now()
		}
		// It may be finished; the rest is in the blob store then.
		if r, kerr := l.kept(ctx, build); kerr == nil {
			if err := m.w.catchUp(ctx, r); err == nil {
				return
			}
		}
		if time.Since(silent) > mirrorLost {
			_ = m.w.take(l.cfg.Now().UTC().Format(Stamp)+" | [The log ends here: whoever wrote it does not answer any more]\n", nil)
			m.w.done()
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(mirrorPause):
		}
		if p, err := l.cfg.Elsewhere(ctx, build); err == nil {
			peer = p
		}
	}
}

func (w *Writer) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.index.Done = true
	w.wake()
}

// receive takes the log in from where the copy stands; no error: all of it is here. answered: the other
// process was there.
func (w *Writer) receive(ctx context.Context, client *http.Client, peer Peer) (answered bool, err error) {
	i, _ := w.state()
	at := fmt.Sprintf("%s/log/%s/feed?offset=%d&marks=%d", peer.URL, w.build, i.Bytes, len(i.Marks))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "Bearer "+peer.Token)
	r, err := client.Do(req)
	if err != nil {
		return false, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return false, fmt.Errorf("read the log of %s: %s", w.build, r.Status)
	}
	for d := json.NewDecoder(r.Body); ; {
		var f frame
		if err := d.Decode(&f); err != nil {
			return true, err
		}
		if err := w.take(f.Text, f.Marks); err != nil {
			return true, err
		}
		if f.Done {
			w.done()
			return true, nil
		}
	}
}

// take appends whole lines as they are.
func (w *Writer) take(text string, marks []Mark) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.file.WriteAt([]byte(text), w.index.Bytes); err != nil {
		return errors.Join(err, w.file.Truncate(w.index.Bytes))
	}
	w.index.Marks = append(w.index.Marks, marks...)
	w.added(text)
	return nil
}

// catchUp takes the rest of a log from its finished copy.
func (w *Writer) catchUp(ctx context.Context, r *Reader) error {
	for {
		i, _ := w.state()
		if i.Bytes >= r.index.Bytes {
			w.mu.Lock()
			w.index.Marks = r.index.Marks
			w.mu.Unlock()
			w.done()
			return nil
		}
		text, err := r.piece(ctx, i.Bytes)
		if err != nil {
			return err
		}
		if err := w.take(text, nil); err != nil {
			return err
		}
	}
}

// framed is how much of a log is in one frame; a line is always shorter.
const framed = 256 << 10

// piece reads whole lines from an offset on, at which a line begins.
func (r *Reader) piece(ctx context.Context, offset int64) (string, error) {
	b, err := r.ReadBytes(ctx, offset, framed)
	if err != nil {
		return "", err
	}
	return string(b[:bytes.LastIndexByte(b, '\n')+1]), nil
}

// serveFeed sends a log to a mirror: what is there from an offset on, and then what comes.
func (l *Logs) serveFeed(w http.ResponseWriter, r *http.Request) {
	l.with(w, r, func(log *Reader) error {
		offset, _ := strconv.ParseInt(r.URL.Query().Get("offset"), 10, 64)
		marks, _ := strconv.Atoi(r.URL.Query().Get("marks"))
		offset, marks = max(offset, 0), max(marks, 0)
		w.Header().Set("Content-Type", "application/x-ndjson")
		c, out := http.NewResponseController(w), json.NewEncoder(w)
		for {
			i, more := log.state()
			for {
				var f frame
				if marks < len(i.Marks) {
					f.Marks, marks = i.Marks[marks:], len(i.Marks)
				}
				if offset < i.Bytes {
					var err error
					if f.Text, err = log.piece(r.Context(), offset); err != nil {
						return err
					}
					offset += int64(len(f.Text))
				}
				f.Done = i.Done && offset >= i.Bytes
				if f.Text != "" || f.Marks != nil || f.Done {
					if err := out.Encode(f); err != nil {
						return nil // the mirror went away
					}
				}
				if offset >= i.Bytes {
					break
				}
			}
			if err := c.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
				return nil
			}
			if i.Done {
				return nil
			}
			select {
			case <-more:
			case <-r.Context().Done():
				return io.EOF
			}
		}
	})
}
