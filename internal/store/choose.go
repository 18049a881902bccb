package store

import (
	"cmp"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"
)

// Several workers want the same requests, and each lost race for one is a transaction for nothing. So a worker
// that finds others at work begins with those requests that are its own share, and takes several at once, but
// never so many that nothing is left for the others.
const (
	// mostAtOnce bounds how many requests a worker claims at once.
	mostAtOnce = 16
	// mostLost bounds among how many requests a worker chooses that loses races.
	mostLost = 31
	// near is for how long a worker that claimed something counts as one that goes on doing so, and known for
	// how long as one that may.
	near, known = 2 * time.Second, time.Hour
	// overdue is after how long a request is everybody's that the one whose share it is passed over.
	overdue = time.Second
)

// rival is another worker: when it was last seen to claim a request, and which.
type rival struct {
	at   time.Time
	last *waiting
}

// waiting is a request.
type waiting struct {
	name        string
	req         *Request
	create, mod int64
	raw         []byte // what it is by now, where that is not req
	hash        uint32 // of the name
	seen        time.Time
	due         time.Time
	accept      func() bool // nil: it was not asked for yet
}

// before is the order in which requests are taken.
func (w *waiting) before(v *waiting) bool {
	return cmp.Or(cmp.Compare(w.req.Priority, v.req.Priority), cmp.Compare(w.create, v.create),
		cmp.Compare(w.req.Order, v.req.Order), cmp.Compare(w.name, v.name)) < 0
}

func hashOf(name string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return h.Sum32()
}

// next chooses the requests to take now, as copies: the first of this worker's share; or, where others are to
// have all that can be seen, one of the first, the more of them the more races were lost.
func (sv *server) next() []waiting {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	room := mostAtOnce
	if sv.c.Slots != nil {
		room = min(room, sv.c.Slots(len(sv.tasks)))
	}
	if sv.ready < 3 || room <= 0 {
		return nil
	}
	now := time.Now()
	claiming, all := sv.rivals(now)
	can := sv.open(now, max(2*room*all, 1+sv.lost))
	room = min(room, (len(can)+2*all-1)/(2*all))
	me := slices.Index(claiming, sv.c.Owner)
	var chosen []waiting
	for _, w := range can {
		if len(chosen) == room {
			break
		}
		home := int(w.hash) % len(claiming)
		if home == me || now.Sub(w.due) > overdue && sv.others[claiming[home]].passed(w) {
			chosen = append(chosen, *w)
		}
	}
	if len(chosen) == 0 && len(can) > 0 {
		chosen = []waiting{*can[rand.IntN(min(len(can), 1+sv.lost))]}
	}
	return chosen
}

// passed tells whether a rival went on to later requests than w. (It may not accept it.)
func (r rival) passed(w *waiting) bool { return r.last == nil || w.before(r.last) }

// open are the first n requests that this worker could take. What shares a subject with an earlier request waits
// for that, whoever has it. The lock is held.
func (sv *server) open(now time.Time, n int) (can []*waiting) {
	var not []*waiting
	spoken := map[string]bool{} // subjects of earlier requests
	sv.queue.Ascend(func(w *waiting) bool {
		behind := false
		for _, subject := range w.req.Subjects {
			behind = behind || spoken[subject]
			spoken[subject] = true
		}
		if behind || sv.taken(w.name) || now.Before(sv.pauses[w.name].until) {
			return true
		}
		if !sv.accepts(w) {
			not = append(not, w)
			return true
		}
		if w.due.IsZero() {
			w.due = now
		}
		can = append(can, w)
		return len(can) < n
	})
	for _, w := range not {
		sv.refused[w.name] = w
		sv.place(w.name)
	}
	return can
}

// accepts tells whether a request is for this worker now. The lock is held.
func (sv *server) accepts(w *waiting) bool {
	if w.accept == nil {
		if sv.c.Accept != nil {
			w.accept = sv.c.Accept(w.req)
		}
		if w.accept == nil {
			w.accept = always
		}
	}
	return w.accept()
}

func always() bool { return true }

// reconsider puts back what was not accepted, and is now.
func (sv *server) reconsider() {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	for name, w := range sv.refused {
		if !sv.taken(name) && w.accept() {
			delete(sv.refused, name)
			sv.place(name)
		}
	}
}

// rivals are the workers, this one too, that claim requests these days, and how many are known. The lock is held.
func (sv *server) rivals(now time.Time) (claiming []string, all int) {
	claiming = append(claiming, sv.c.Owner)
	for owner, r := range sv.others {
		switch ago := now.Sub(r.at); {
		case ago > known:
			delete(sv.others, owner)
		case ago < near:
			claiming = append(claiming, owner)
		}
	}
	slices.Sort(claiming)
	return claiming, 1 + len(sv.others)
}

// taken tells whether somebody works on a request. A claim of the worker's own without a task is one whose making
// had an unknown outcome. The lock is held.
func (sv *server) taken(name string) bool {
	by := sv.claims[name]
	return by != "" && by != sv.c.Owner || sv.tasks[name] != nil
}

// place puts a request into the queue, or takes it out: one that nobody has, and that was not refused. Those that others
// may have to wait for stay. The lock is held.
func (sv *server) place(name string) {
	switch w := sv.requests[name]; {
	case w == nil:
	case len(w.req.Subjects) > 0 || !sv.taken(name) && sv.refused[name] == nil:
		sv.queue.ReplaceOrInsert(w)
	default:
		sv.queue.Delete(w)
	}
}
