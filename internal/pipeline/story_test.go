package pipeline

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"gopkg.in/yaml.v3"

	"github.com/gozer-ci/gozer/internal/change"
	"github.com/gozer-ci/gozer/internal/job"
)

// TestScenarios plays testdata/scenarios. A story begins with the pipeline, as YAML; then come
//
//	change A [project=P] [branch=B] [needs=(B,C)]    made known to the forge; enqueue does it by itself
//	blocked A WHY | allowed A                        whether the forge would merge it, as one sees later
//	conflict A B                                     git cannot merge one on top of the other
//	enqueue A B | patchset A | abandon A | tell A    events; tell only lets the pipeline know how A is now
//	end A JOB RESULT                                 with returned data as YAML below
//	started A JOB | failing A JOB | paused A JOB     news of a build
//	hold KIND... | release KIND [A]                  Merge, Configure, RepoState, RequestNodes, Report...
//	release Report A refused|moved | release RequestNodes A failed | release Merge A conflict
//	push PROJECT                                     somebody pushes to its branch
//	dequeue A | promote B A | pause | resume         an operator; the reason of a pause stands below
//	reconfigure                                      with what changes of the pipeline, as YAML below
//	hazard A WRITER READER | hazard A                what was found of what jobs read of each other: that, or nothing
//	queue                                            shows the queues: what is ahead of each item, and its state
//	explain A [JOB]                                  why it is as it is
//
// and each shows what the pipeline does: its effects, and what landed. What is not held is carried out at
// once and left out, but for builds, which run until they are ended.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		s := &story{held: map[string]bool{}, names: map[ItemID]string{}, requests: map[string]string{}, builds: map[BuildID]string{}}
		datadriven.RunTest(t, path, s.play)
	})
}

type story struct {
	*world
	t    *testing.T
	plan plan
	held map[string]bool
	out  []string
	// names of items, also of those that left; of node requests and builds, "A test".
	names    map[ItemID]string
	requests map[string]string
	builds   map[BuildID]string
}

func (s *story) play(t *testing.T, d *datadriven.TestData) string {
	s.t, s.out = t, nil
	var pos []string
	opt := map[string][]string{}
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			pos = append(pos, a.Key)
		} else {
			opt[a.Key] = a.Vals
		}
	}
	for len(pos) < 4 {
		pos = append(pos, "")
	}
	given := slices.DeleteFunc(slices.Clone(pos), func(p string) bool { return p == "" })
	switch d.Cmd {
	case "pipeline":
		s.open(d.Input)
		return ""
	case "change":
		one := func(name, otherwise string) string {
			if v := opt[name]; len(v) > 0 {
				return v[0]
			}
			return otherwise
		}
		s.propose(named(one("project", "org/project")), one("branch", "master"), pos[0], opt["needs"]...)
	case "needs":
		s.depend(pos[0], given[1:]...)
	case "blocked", "allowed":
		c := *s.forge[pos[0]]
		c.Blocked = pos[1]
		s.forge[pos[0]] = &c
	case "conflict":
		s.conflicts[[2]string{pos[0], pos[1]}] = true
	case "enqueue":
		for _, n := range given {
			if s.forge[n] == nil {
				s.propose(named("org/project"), "master", n)
			}
			s.input(s.tell("comment-added", n, true))
		}
	case "patchset":
		s.world.patchset(pos[0])
		s.input(s.tell("patchset-created", pos[0], true))
	case "abandon":
		s.close(pos[0], false)
		s.input(s.tell("change-abandoned", pos[0], false))
	case "end", "started", "failing", "paused":
		s.news(d.Cmd, s.building(pos[0], pos[1]), Result(pos[2]), d.Input)
	case "late":
		s.input(&BuildEnded{Build: s.former(pos[0], pos[1]), Result: Result(pos[2])})
	case "hold":
		for _, k := range given {
			s.held[k] = true
		}
	case "release":
		s.release(pos[0], pos[1], pos[2])
	case "push":
		s.push(pos[0], "master")
	case "dequeue":
		s.input(&Dequeue{Key: s.forge[pos[0]].Key()})
	case "promote":
		in := &Promote{}
		for _, n := range given {
			in.Keys = append(in.Keys, s.forge[n].Key())
		}
		in.Changes = s.closure(in.Keys...)
		s.input(in)
	case "pause":
		s.input(&Pause{Reason: d.Input})
	case "resume":
		s.input(&Pause{})
	case "tick":
		s.propose(named("org/project"), "master", pos[0])
		in := s.tell("timer", pos[0], true)
		in.Event.Driver = "timer"
		s.input(in)
	case "wait":
		d, err := time.ParseDuration(pos[0])
		if err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(d)
		s.input(&Wake{})
	case "estimates":
		in := &Estimated{Jobs: map[string]time.Duration{}}
		s.decode(d.Input, &in.Jobs)
		s.input(in)
	case "tell":
		s.input(s.tell("comment-added", pos[0], false))
	case "reconfigure":
		projects := s.plan.Projects
		s.plan.Projects = nil
		s.decode(d.Input, &s.plan)
		if s.plan.Projects == nil {
			s.plan.Projects = projects
		}
		s.input(&Reconfigure{Settings: s.plan.settings(), Tenant: s.plan.tenant(), Removed: s.plan.Removed})
	case "hazard":
		s.hazard(pos[0], job.ID(pos[1]), job.ID(pos[2]))
	case "queue":
		s.show()
	case "explain":
		s.explain(pos[0], pos[1])
	default:
		t.Fatalf("%s: there is no command %s", d.Pos, d.Cmd)
	}
	if len(s.out) == 0 {
		return "nothing to do\n"
	}
	return strings.Join(s.out, "\n") + "\n"
}

func (s *story) decode(text string, into any) {
	s.t.Helper()
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil && text != "" {
		s.t.Fatal(err)
	}
}

func (s *story) open(text string) {
	s.plan = plan{Manager: "dependent", Layout: "layout 1", Window: 20, Floor: 3, Projects: map[string]planProject{"org/project": {}}}
	s.decode(text, &s.plan)
	s.world = newWorld(s.plan.settings(), s.plan.tenant())
	s.jobs = func(c []*change.Change) *job.Graph { return s.plan.graph(c) }
	s.stepped = func(_ Input, effects []Effect, _ []ItemID) {
		for _, it := range s.s.Items {
			s.names[it.ID] = s.name(it.Changes)
		}
		for _, e := range effects {
			s.tellOf(e)
		}
	}
}

// name is how a story calls an item: its changes, with a patch set beyond the first.
func (s *story) name(keys []change.Key) string {
	var out []string
	for _, k := range keys {
		_, _, number, patchset, ok := k.Parts()
		switch {
		case !ok:
			out = append(out, string(k))
		case patchset != "1":
			out = append(out, number+"/"+patchset)
		default:
			out = append(out, number)
		}
	}
	return strings.Join(out, "+")
}

func (s *story) say(format string, args ...any) { s.out = append(s.out, fmt.Sprintf(format, args...)) }

// input steps, and carries out all that is not held, oldest first.
func (s *story) input(in Input) {
	s.step(in)
	s.settle()
}

func (s *story) settle() {
	for range 10000 {
		i := slices.IndexFunc(s.todo, func(e Effect) bool { return !s.held[kind(e)] && kind(e) != "FindHazards" })
		if r := slices.IndexFunc(s.runs, func(r *run) bool { return r.canceled && !s.held["Cancel"] }); r >= 0 {
			s.step(s.world.end(s.runs[r], Canceled))
			continue
		}
		if i < 0 {
			return
		}
		s.carry(s.todo[i])
	}
	s.t.Fatal("the story does not come to rest")
}

func (s *story) carry(e Effect) {
	s.drop(e)
	before := len(s.landed)
	for _, in := range s.outcome(e) {
		if s.landed != nil && len(s.landed) > before {
			for _, l := range s.landed[before:] {
				s.say("Landed {%s} on %s", l.number, l.before)
			}
			before = len(s.landed)
		}
		s.step(in)
	}
}

func kind(e any) string { return strings.TrimPrefix(fmt.Sprintf("%T", e), "*pipeline.") }

// tellOf shows an effect in the words of the story. What is carried out at once is not shown.
func (s *story) tellOf(e Effect) {
	switch e := e.(type) {
	case *Merge:
		if s.held["Merge"] {
			s.say("Merge {%s [%s]}", s.names[e.Item], operations(e.Operations))
		}
	case *Configure:
		if s.held["Configure"] {
			s.say("Configure {%s}", s.names[e.Item])
		}
	case *RepoState:
		if s.held["RepoState"] {
			s.say("RepoState {%s}", s.names[e.Item])
		}
	case *RequestNodes:
		s.requests[e.Request] = s.names[e.Item] + " " + string(e.Job)
		if s.held["RequestNodes"] {
			s.say("RequestNodes {%s} priority %d, %d", s.requests[e.Request], e.Priority, e.Relative)
		}
	case *Reprioritize:
		s.say("Reprioritize {%s} %d", s.requests[e.Request], e.Relative)
	case *ReturnNodes:
		s.say("ReturnNodes {%s}", s.requests[e.Request])
	case *Start:
		s.builds[e.Build] = s.names[e.Item] + " " + string(e.Job.ID)
		attempt := ""
		if e.Attempt > 1 {
			attempt = ", attempt " + strconv.Itoa(e.Attempt)
		}
		s.say("Start {%s [%s]%s}", s.builds[e.Build], operations(e.Operations), attempt)
	case *Cancel:
		s.say("Cancel {%s}", s.builds[e.Build])
	case *Resume:
		s.say("Resume {%s}", s.builds[e.Build])
	case *Report:
		merge := ""
		if e.Merge {
			merge = ", merge"
		}
		if r := e.Reporters[0].Options["reporter"]; r != string(e.Action) {
			merge += fmt.Sprint(" by ", r)
		}
		s.say("Report {%s %s%s}%s", s.name(keysOf(e.Changes)), e.Action, merge, s.reasons(e))
	case *Refetch:
		s.say("Refetch {%s}", s.name(e.Keys))
	case *Requeue:
		s.say("Requeue {%s}", s.name(e.Keys))
	case *FindArtifacts:
		s.say("FindArtifacts {%s %s} of %s", s.names[e.Item], e.Job, s.name(keysOf(e.Changes)))
	case *FindHazards:
		var pairs []string
		for _, p := range e.Pairs {
			pairs = append(pairs, string(p[0])+" beside "+string(p[1]))
		}
		s.say("FindHazards {%s} %s", s.names[e.Item], strings.Join(pairs, ", "))
	case *DropView:
		s.say("DropView")
	case *Released:
		if s.held["Released"] {
			s.say("Released {%s}", strings.Join(e.Semaphores, ", "))
		}
	case *FindEstimates:
		s.say("FindEstimates")
	case *Supersede:
		s.say("Supersede {%s} in %s", s.name([]change.Key{e.Key}), strings.Join(e.Pipelines, ", "))
	case *Emit:
		s.say("Emit {%s %s}", e.Event.Type, e.Event.Number)
	}
}

// reasons are those lines of a report that say more than what the pipeline's message does.
func (s *story) reasons(e *Report) string {
	var out []string
	seen := map[string]bool{}
	for _, c := range e.Changes {
		for _, l := range strings.Split(e.Messages[c.Key()].Message, "\n") {
			l = strings.TrimSpace(l)
			for _, want := range []string{"is needed", "are needed", "unable to merge", "branch moved", "not share", "Error merging", "invalid conf", "max of", "circular", "abandoned", "forge", "at a time", "same time", "once more", "the cycle"} {
				if strings.Contains(l, want) && !seen[l] {
					seen[l] = true
					out = append(out, "\n  "+l)
				}
			}
		}
	}
	return strings.Join(out, "")
}

func keysOf(changes []*change.Change) []change.Key {
	var out []change.Key
	for _, c := range changes {
		out = append(out, c.Key())
	}
	return out
}

func operations(ops []*MergeOp) string {
	var out []string
	for _, op := range ops {
		n := op.Number
		if op.Patchset != "1" {
			n += "/" + op.Patchset
		}
		out = append(out, n)
	}
	return strings.Join(out, " ")
}

// building finds a running build.
func (s *story) building(item, id string) *run {
	s.t.Helper()
	for _, r := range s.runs {
		if s.builds[r.Build] == item+" "+id {
			return r
		}
	}
	var running []string
	for _, r := range s.runs {
		running = append(running, s.builds[r.Build])
	}
	s.t.Fatalf("%s %s does not run; %v do", item, id, running)
	return nil
}

// former finds the first build of the item's job that there was.
func (s *story) former(item, id string) BuildID {
	s.t.Helper()
	for b, n := range s.builds {
		if n == item+" "+id && s.run(b) == nil {
			return b
		}
	}
	s.t.Fatalf("%s %s never ran", item, id)
	return ""
}

// hazard tells what came of FindHazards.
func (s *story) hazard(item string, writer, reader job.ID) {
	s.t.Helper()
	for _, it := range s.s.Items {
		if s.names[it.ID] != item {
			continue
		}
		in := &HazardsFound{Item: it.ID, Buildset: it.Buildset.ID, Token: it.Buildset.Looking}
		if writer != "" {
			in.Hazards = []Hazard{{Writer: writer, Reader: reader, Resource: "file /srv/status on static01", Wrote: "say how it is", Read: "show how it is"}}
		}
		s.input(in)
		return
	}
	s.t.Fatalf("there is no item %s", item)
}

func (s *story) news(what string, r *run, result Result, data string) {
	returned := map[string]any{}
	s.decode(data, &returned)
	if len(returned) == 0 {
		returned = nil
	}
	switch what {
	case "started":
		s.input(&BuildStarted{Build: r.Build, At: s.now, Executor: "ze01"})
	case "failing":
		s.input(&BuildFailing{Build: r.Build})
	case "paused":
		s.input(&BuildPaused{Build: r.Build, Data: returned})
	default:
		if result == "NONE" {
			result = ""
		}
		in := s.world.end(r, result)
		in.Data = returned
		s.input(in)
	}
}

// release carries out what was held: all of a kind, or that of one item, and how.
func (s *story) release(what, item, how string) {
	s.t.Helper()
	if item == "" {
		delete(s.held, what)
		s.settle()
		return
	}
	for _, e := range s.todo {
		var in Input
		switch e := e.(type) {
		case *Merge:
			if s.names[e.Item] == item && what == "Merge" && how == "conflict" {
				in = &Merged{Item: e.Item, Buildset: e.Buildset, Conflict: "Error merging " + item}
			}
		case *Configure:
			if s.names[e.Item] == item && what == "Configure" && how == "broken" {
				in = &Configured{Item: e.Item, Buildset: e.Buildset, Layout: "layout 1", Problems: []Problem{{Text: "an invalid configuration", Project: named("org/project").Canonical()}}}
			}
		case *RequestNodes:
			if strings.HasPrefix(s.requests[e.Request], item+" ") && what == "RequestNodes" && how == "failed" {
				in = &NodesReady{Item: e.Item, Buildset: e.Buildset, Job: e.Job, Request: e.Request, Failed: true}
			}
		case *Report:
			if s.names[e.Item] == item && what == "Report" {
				switch how {
				case "refused":
					in = s.land(e, func(string) bool { return true })
				case "moved":
					in = &Reported{Item: e.Item, Buildset: e.Buildset, Report: e.ID, Moved: true}
				}
			}
		}
		if in == nil && kind(e) == what && how == "" && s.of(e) == item {
			s.carry(e)
			s.settle()
			return
		}
		if in != nil {
			s.drop(e)
			s.input(in)
			return
		}
	}
	s.t.Fatalf("no %s of %s waits", what, item)
}

// of is the item that an effect belongs to.
func (s *story) of(e Effect) string {
	switch e := e.(type) {
	case *Merge:
		return s.names[e.Item]
	case *Configure:
		return s.names[e.Item]
	case *RepoState:
		return s.names[e.Item]
	case *RequestNodes:
		return s.names[e.Item]
	case *Report:
		return s.names[e.Item]
	}
	return ""
}

// explain says why the item, and each of its jobs, or one, is as it is.
func (s *story) explain(item, only string) {
	s.t.Helper()
	for _, it := range s.s.Items {
		if s.names[it.ID] != item {
			continue
		}
		e := Explain(s.s, s.sem, it.ID)
		if only == "" {
			s.say("%s", e.Why)
		}
		for _, j := range e.Jobs {
			if only == "" || j.Name == only {
				s.say("%s: %s", j.Name, j.Why)
			}
		}
		return
	}
	if c := s.forge[item]; c != nil {
		s.say("%s", Refusal(s.s, c, s.now, false))
	}
}

// show draws the queues.
func (s *story) show() {
	for _, q := range s.s.Queues {
		name := q.Name
		if q.Branch != "" {
			name += " " + q.Branch
		}
		if q.Dynamic {
			name = "(made for it)"
		}
		window := ""
		if q.Window > 0 {
			window = fmt.Sprintf(", window %d", q.Window)
		}
		s.say("queue %s%s", name, window)
		for _, id := range q.Items {
			it := s.s.Items[id]
			line := "  " + s.names[id]
			if it.Ahead != "" {
				line += " on " + s.names[it.Ahead]
			}
			if !it.Live {
				line += ", context"
			}
			if !it.Active {
				line += ", outside the window"
			}
			for _, f := range it.Failing {
				line += ", failing: " + f
			}
			s.say("%s", line)
		}
	}
	if s.s.Paused != "" {
		s.say("paused: %s", s.s.Paused)
	}
}
