package launcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/store"
)

// chunk bounds the records in one transaction.
const chunk = 200

// step takes a step: the state changes, the records of the nodes that it touched are written, the effects
// are begun. Where somebody else wrote one of the records meanwhile, the step is taken back, their write
// counts, and it is taken anew. An error ends the launcher.
func (l *Launcher) step(ctx context.Context, in node.Input) error {
	l.steps++
	m := node.Meta{Now: time.Now(), Seed: fmt.Sprintf("%s/%d/%d", l.cfg.ID, l.cfg.Session.Lease(), l.steps)}
	for range 20 {
		before := l.fleet.Clone()
		effects, touched := node.Step(l.fleet, m, in)
		err := l.write(ctx, touched)
		if err == nil {
			for _, e := range effects {
				l.carryOut(ctx, e)
			}
			return nil
		}
		l.fleet = before
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		if err := l.reread(ctx, touched); err != nil {
			return err
		}
	}
	return fmt.Errorf("write the records of nodes: %w", store.ErrConflict)
}

// write writes the records of nodes as they are in the state.
func (l *Launcher) write(ctx context.Context, ids []string) error {
	for len(ids) > 0 {
		n := min(len(ids), chunk)
		if err := l.writeChunk(ctx, ids[:n]); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

func (l *Launcher) writeChunk(ctx context.Context, ids []string) error {
	txn := kv.Txn{}
	for _, f := range l.fences {
		txn.If = append(txn.If, kv.Created(f.Key, f.Rev))
	}
	for _, id := range ids {
		txn.If = append(txn.If, kv.Unchanged(node.Records+id, l.mods[id]))
		if n := l.fleet.Nodes[id]; n != nil {
			txn.Then = append(txn.Then, kv.Put(node.Records+id, store.Encode(n)))
		} else {
			txn.Then = append(txn.Then, kv.Delete(node.Records+id))
		}
	}
	ok, rev, err := l.st.KV().Commit(ctx, txn)
	for err != nil {
		if ctx.Err() != nil || errors.Is(err, kv.ErrInvalid) || errors.Is(err, kv.ErrTooLarge) || errors.Is(err, kv.ErrClosed) {
			return fmt.Errorf("write the records of nodes: %w", err)
		}
		if !errors.Is(err, kv.ErrNoSpace) { // a store that is full says so itself; who works with the nodes goes on meanwhile
			l.log.Warn("it is not known whether the records of nodes were written", "err", err)
		}
		if ok, rev, err = l.settle(ctx, txn); err != nil {
			continue
		}
		if !ok { // it was not: the same once more
			ok, rev, err = l.st.KV().Commit(ctx, txn)
		}
	}
	if !ok {
		return l.whyNot(ctx)
	}
	for _, id := range ids {
		if l.fleet.Nodes[id] != nil {
			l.mods[id] = rev
		} else {
			delete(l.mods, id)
		}
	}
	return nil
}

// wait lets time pass, unless the launcher ends.
func (l *Launcher) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.cfg.Session.Done():
		return fmt.Errorf("%w: %w", kv.ErrClosed, kv.ErrSessionLost)
	case <-time.After(d):
		return nil
	}
}

// settle finds out, after a pause, whether a transaction went through whose outcome is unknown, and at
// which revision. A later write by somebody else to one of the records does not hide it: a transaction
// writes all of them or none.
func (l *Launcher) settle(ctx context.Context, txn kv.Txn) (done bool, rev int64, err error) {
	if err := l.wait(ctx, 500*time.Millisecond); err != nil {
		return false, 0, err
	}
	for _, op := range txn.Then {
		e, found, err := kv.Get(ctx, l.st.KV(), op.Key)
		switch {
		case err != nil:
			return false, 0, err
		case op.Kind == kv.OpPut && found && bytes.Equal(e.Value, op.Value):
			return true, e.Mod, nil
		case op.Kind == kv.OpDelete && !found:
			done = true // with a revision only if another record tells
		}
	}
	return done, rev, nil
}

// whyNot tells a lost provider from a record that somebody else wrote.
func (l *Launcher) whyNot(ctx context.Context) error {
	for name, f := range l.fences {
		e, found, err := kv.Get(ctx, l.st.KV(), f.Key)
		if err != nil {
			return err
		}
		if !found || e.Create != f.Rev {
			return fmt.Errorf("provider %s: %w", name, store.ErrFenced)
		}
	}
	return store.ErrConflict
}

// reread takes in what others wrote about nodes.
func (l *Launcher) reread(ctx context.Context, ids []string) error {
	for _, id := range ids {
		r, err := store.Records[node.Node](l.st, node.Records).Get(ctx, id)
		gone := errors.Is(err, store.ErrNotFound)
		if err != nil && !gone {
			return err
		}
		if gone {
			r = store.Record[node.Node]{Name: id}
			if l.mods[id] == 0 {
				continue
			}
		}
		if err := l.noted(ctx, r, gone); err != nil {
			return err
		}
	}
	return nil
}

// recordChanged hands what is followed to the loop.
func (l *Launcher) recordChanged(ctx context.Context) func(store.Record[node.Node], bool) error {
	return func(r store.Record[node.Node], gone bool) error {
		l.do(ctx, func(ctx context.Context) error {
			if r.Mod <= l.mods[r.Name] {
				return nil // ours, or older
			}
			return l.noted(ctx, r, gone)
		})
		return nil
	}
}

// noted takes in a record as somebody else left it.
func (l *Launcher) noted(ctx context.Context, r store.Record[node.Node], gone bool) error {
	if gone {
		if l.mods[r.Name] == 0 {
			return nil // we removed it
		}
		delete(l.mods, r.Name)
		return l.step(ctx, &node.Changed{Node: node.Node{ID: r.Name}, Gone: true})
	}
	if l.providers[r.Value.Provider] == nil || r.Mod == l.mods[r.Name] {
		return nil
	}
	l.mods[r.Name] = r.Mod
	return l.step(ctx, &node.Changed{Node: r.Value})
}
