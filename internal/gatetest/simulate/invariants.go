package simulate

import (
	"fmt"
	"strings"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/kv"
)

// busy lists what is under way: events, inputs, requests.
func (w *world) busy() string {
	var out []string
	for _, prefix := range []string{"/event/", "/inbox/", "/request/", "/redo/"} {
		r, err := w.kv.Range(w.ctx, kv.Query{Prefix: prefix, KeysOnly: true})
		if err != nil {
			return err.Error()
		}
		for _, e := range r.KVs {
			out = append(out, e.Key)
		}
	}
	return strings.Join(out, " ")
}

func (w *world) quiet() bool { return w.busy() == "" }

// final looks at a world that came to rest: nothing is left, and of every change that was let in people
// heard what became of it.
func (w *world) final() {
	w.compare()
	for _, pipe := range pipes {
		st, _, err := w.outside.LoadPipeline(w.ctx, tenant, pipe)
		if err != nil {
			w.fail("read %s: %v", pipe, err)
			return
		}
		for id, it := range st.Items {
			w.fail("item %s of %v is stuck in %s: phase %q, failing %v, ahead %q", id, it.Changes, pipe, it.Buildset.Phase, it.Failing, it.Ahead)
		}
		for b := range st.Stopping {
			w.fail("build %s is still being stopped in %s", b, pipe)
		}
	}
	for _, key := range []string{tenant, ""} {
		sem, _, err := w.outside.Semaphores(w.ctx, key)
		if err != nil {
			w.fail("read semaphores: %v", err)
			return
		}
		for name, hs := range sem.Holders {
			w.fail("semaphore %s is still held by %v", name, hs)
		}
	}
	for i, by := range w.leased() {
		if by != "" {
			w.fail("machine m%d is still leased to request %s", i, by)
		}
	}
	r, err := w.kv.Range(w.ctx, kv.Query{Prefix: "/claim/", KeysOnly: true})
	if err != nil {
		w.fail("read claims: %v", err)
		return
	}
	for _, e := range r.KVs {
		if !strings.HasPrefix(e.Key, "/claim/owner/") {
			w.fail("%s is still there", e.Key)
		}
	}
	for _, k := range w.forge.order {
		if w.owed(k, map[change.Key]bool{}) && !w.forge.changes[k].Merged && !w.heard(k) {
			w.fail("%s was approved with all that it needs, and nobody heard what became of it (heard: %v)", k, w.forge.said[k])
		}
	}
}

// owed tells whether a change was let into the gate together with all that it needs, and nobody took it
// out again.
func (w *world) owed(k change.Key, seen map[change.Key]bool) bool {
	f := w.forge
	if seen[k] {
		return true
	}
	seen[k] = true
	c := f.changes[k]
	if c.Merged {
		return true
	}
	if !f.approved[k] || f.excused[k] || !c.Open || !c.Current {
		return false
	}
	for _, n := range c.Needs(true) {
		if !w.owed(n, seen) {
			return false
		}
	}
	return true
}

func (w *world) heard(k change.Key) bool {
	for _, s := range w.forge.said[k] {
		if strings.HasPrefix(s, "gate ") {
			return true
		}
	}
	return false
}

// agree checks that the record of semaphores and the jobs that say that they hold one tell the same.
func (w *world) agree() {
	says := map[string]int{}
	for _, pipe := range pipes {
		st, _, err := w.outside.LoadPipeline(w.ctx, tenant, pipe)
		if err != nil {
			w.fail("read %s: %v", pipe, err)
			return
		}
		for _, it := range st.Items {
			for id, js := range it.Buildset.Jobs {
				for _, name := range js.Semaphores {
					says[fmt.Sprintf("%s by job %s of buildset %s", name, id, it.Buildset.ID)]++
				}
			}
		}
	}
	for _, key := range []string{tenant, ""} {
		sem, _, err := w.outside.Semaphores(w.ctx, key)
		if err != nil {
			w.fail("read semaphores: %v", err)
			return
		}
		for name, hs := range sem.Holders {
			for _, h := range hs {
				says[fmt.Sprintf("%s by job %s of buildset %s", name, h.Job, h.Buildset)] += 10
			}
		}
	}
	for what, n := range says {
		if n != 11 {
			w.fail("semaphore %s: in its record %d times, by the job %d times", what, n/10, n%10)
		}
	}
}
