package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gozer-ci/gozer/internal/kv"
	"github.com/gozer-ci/gozer/internal/pipeline"
)

// Kinds of requests, named for what is wanted. The body's type stands behind each.
const (
	KindMerge     = "merge"     // pipeline.Merge, to mergers
	KindRepoState = "repostate" // pipeline.RepoState, to mergers
	KindFiles     = "files"     // FilesRequest, to mergers; answered by Reply
	KindConfigure = "configure" // pipeline.Configure, to schedulers
	KindRefetch   = "refetch"   // pipeline.Refetch, to schedulers
	KindRequeue   = "requeue"   // pipeline.Requeue, to schedulers
	KindArtifacts = "artifacts" // pipeline.FindArtifacts, to whoever has the history
	KindEstimates = "estimates" // pipeline.FindEstimates, to whoever has the history
	KindRecord    = "record"    // pipeline.Record, to whoever has the history
	KindNodes     = "nodes"     // pipeline.RequestNodes, to launchers
	KindReturn    = "return"    // pipeline.ReturnNodes, to launchers
	KindBuild     = "build"     // pipeline.Start, to executors
	KindView      = "view"      // pipeline.DropView, to executors
	KindHazards   = "hazards"   // pipeline.FindHazards, to executors
	KindReport    = "report"    // pipeline.Report, to reporters
)

// Request is one piece of work that some worker shall do.
type Request struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	// Tenant and Pipeline say whose inbox gets the outcome; empty where the answer goes to Reply.
	Tenant   string    `json:"tenant,omitempty"`
	Pipeline string    `json:"pipeline,omitempty"`
	Priority int       `json:"priority,omitempty"`
	Made     time.Time `json:"made"`
	// Order tells requests that were made in one transaction apart: those of a step keep its order.
	Order int `json:"order,omitempty"`
	// Subjects are what the work is about, where that matters: of two requests of a kind with the same priority and
	// a subject in common, the later one is begun when the earlier one is done.
	Subjects []string `json:"subjects,omitempty"`
	// Nodes that the work is done on, by which it finds its executor.
	Nodes []string `json:"nodes,omitempty"`
	// Event is the forge event that this goes back to, for logs.
	Event string `json:"event,omitempty"`
	// Began counts how often a worker took it; By is the last one.
	Began int             `json:"began,omitempty"`
	By    string          `json:"by,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
	Blob  string          `json:"blob,omitempty"`
	// Shared is a blob with a part of the body that other requests have, too.
	Shared string `json:"shared,omitempty"`
	// Reply: the answer is a record under ReplyKey, for a caller that waits (Call).
	Reply bool `json:"reply,omitempty"`
}

// RequestPrefix, ClaimPrefix and SignalPrefix are where requests of a kind, the claims on them, and the
// signals to whoever works on them, are.
func RequestPrefix(kind string) string { return "/request/" + kind + "/" }
func ClaimPrefix(kind string) string   { return "/claim/" + kind + "/" }
func SignalPrefix(kind string) string  { return "/signal/" + kind + "/" }

func requestKey(kind, id string) string      { return RequestPrefix(kind) + seg(id) }
func signalKey(kind, id, name string) string { return SignalPrefix(kind) + seg(id) + "/" + seg(name) }
func replyKey(id string) string              { return "/reply/" + seg(id) }

// RequestOp is the write that makes a request, as part of a transaction. It overwrites a request of the
// same ID that nobody answered yet: same ID, same work.
func (s *Store) RequestOp(ctx context.Context, r Request, body any) (kv.Op, error) {
	b := encode(body)
	if len(b) < spill {
		r.Body = b
	} else {
		name, err := s.PutBlob(ctx, b)
		if err != nil {
			return kv.Op{}, fmt.Errorf("make %s request %s: %w", r.Kind, r.ID, err)
		}
		r.Blob = name
	}
	return kv.Put(requestKey(r.Kind, r.ID), encode(r)), nil
}

// SignalOp is the write that tells whoever works on a request something: cancel, resume...
func SignalOp(kind, id, name, value string) kv.Op {
	return kv.Put(signalKey(kind, id, name), []byte(value))
}

// EffectOps are the writes that hand the effects of a step to the workers. Effects that go to inboxes of
// other pipelines, or to the tenant (Emit, Supersede, Released), are left to the scheduler, who knows
// the layout: they are returned as rest.
func (s *Store) EffectOps(ctx context.Context, tenant, pipe string, now time.Time, effects []pipeline.Effect) (ops []kv.Op, rest []pipeline.Effect, err error) {
	known := sharers{}
	for i, e := range effects {
		var body any = e
		r := Request{Tenant: tenant, Pipeline: pipe, Made: now, Order: i}
		switch e := e.(type) {
		case *pipeline.Merge:
			r.Kind, r.ID, r.Priority = KindMerge, string(e.Buildset), e.Priority
		case *pipeline.Configure:
			r.Kind, r.ID, r.Event = KindConfigure, string(e.Buildset), e.Trigger.ID
		case *pipeline.RepoState:
			r.Kind, r.ID, r.Priority = KindRepoState, string(e.Buildset), e.Priority
		case *pipeline.RequestNodes:
			r.Kind, r.ID, r.Priority = KindNodes, e.Request, e.Priority
		case *pipeline.Start:
			r.Kind, r.ID, r.Priority, r.Event, r.Nodes = KindBuild, string(e.Build), e.Priority, e.Event.ID, e.Nodes
			if body, r.Shared, err = s.share(ctx, known, e); err != nil {
				return nil, nil, err
			}
		case *pipeline.Report:
			r.Kind, r.ID, r.Event = KindReport, e.ID, e.Event.ID
			for _, c := range e.Changes { // a change is told that it starts before it is told how it ended
				r.Subjects = append(r.Subjects, string(c.Stable()))
			}
		case *pipeline.ReturnNodes:
			r.Kind, r.ID = KindReturn, e.Request
		case *pipeline.DropView:
			r.Kind, r.ID = KindView, string(e.Buildset)
		case *pipeline.FindHazards:
			r.Kind, r.ID = KindHazards, e.Token
		case *pipeline.Record:
			r.Kind, r.ID = KindRecord, s.unique(i)
		case *pipeline.Refetch:
			r.Kind, r.ID = KindRefetch, e.Token
		case *pipeline.Requeue:
			r.Kind, r.ID = KindRequeue, s.unique(i)
		case *pipeline.FindArtifacts:
			r.Kind, r.ID = KindArtifacts, e.Token
		case *pipeline.FindEstimates:
			r.Kind, r.ID = KindEstimates, e.Token
		case *pipeline.Cancel:
			ops = append(ops, SignalOp(KindBuild, string(e.Build), SignalCancel, ""))
			continue
		case *pipeline.Resume:
			ops = append(ops, SignalOp(KindBuild, string(e.Build), SignalResume, ""))
			continue
		case *pipeline.Reprioritize:
			ops = append(ops, SignalOp(KindNodes, e.Request, SignalRelative, fmt.Sprint(e.Relative)))
			continue
		default:
			rest = append(rest, e)
			continue
		}
		op, err := s.RequestOp(ctx, r, body)
		if err != nil {
			return nil, nil, err
		}
		ops = append(ops, op)
	}
	return ops, rest, nil
}

// Call makes a request and waits for its answer, which is decoded into answer. The request is withdrawn
// when ctx ends.
func (s *Store) Call(ctx context.Context, kind string, priority int, body, answer any) error {
	r := Request{Kind: kind, ID: s.unique(0), Priority: priority, Made: time.Now(), Reply: true}
	op, err := s.RequestOp(ctx, r, body)
	if err != nil {
		return err
	}
	rev, err := s.Write(ctx, Fence{}, op)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", kind, err)
	}
	defer func() {
		actx, cancel := aside(ctx)
		defer cancel()
		_, _ = s.Write(actx, Fence{}, kv.Delete(requestKey(kind, r.ID)), kv.Delete(replyKey(r.ID)))
	}()
	rep, err := s.answer(ctx, r.ID, rev)
	if err != nil {
		return fmt.Errorf("wait for %s: %w", kind, err)
	}
	if rep.Error != "" {
		return fmt.Errorf("%s", rep.Error)
	}
	if rep.Blob == "" {
		return nil
	}
	return s.JSON(ctx, rep.Blob, answer)
}

// reply is the record under which Call finds its answer.
type reply struct {
	Blob  string `json:"blob,omitempty"`
	Error string `json:"error,omitempty"`
}

// FilesRequest asks a merger for the configuration files of branches. Answer: FilesAnswer.
type FilesRequest struct {
	Branches []FilesBranch `json:"branches"`
}

// ReplyOp is the write that answers whoever waits (Await) with nothing but a failure, which is empty
// where all went well.
func ReplyOp(name, failure string) kv.Op {
	return kv.Put(replyKey(name), encode(reply{Error: failure}))
}
