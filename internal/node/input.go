package node

import "time"

// Meta comes with every input: the time, and a seed from which the IDs of new nodes are derived. Two
// inputs never have the same seed.
type Meta struct {
	Now  time.Time
	Seed string
}

// Input is one thing that happened to a launcher. The set is sealed: it is what is in this file.
type Input interface{ input() }

// Supplied tells of a provider: a new one, or one whose labels changed.
type Supplied struct{ Supply Supply }

// Resumed comes once, after the nodes were read from the store: whatever was under way is begun again.
type Resumed struct{}

// Wanted is a new request.
type Wanted struct{ Request Request }

// Reprioritized changes the relative priority of a request.
type Reprioritized struct {
	Request  string
	Relative int
}

// Withdrawn gives up a request that was not fulfilled.
type Withdrawn struct{ Request string }

// Returned tells that the nodes which were handed out for a request did not reach it, or come back; those
// that nobody uses yet are free again.
type Returned struct{ Request string }

// Created is the outcome of a Create effect: there is an instance.
type Created struct {
	Node   string
	Access Access
}

// Checked is the outcome of a Check effect: it answers, and is the right one.
type Checked struct {
	Node   string
	Access Access
}

// NotMade is the other outcome of a Create or Check effect.
type NotMade struct {
	Node  string
	Why   Reason
	Error string
}

// Reason tells why a node was not made.
type Reason string

// Reasons. Any other failure is Trouble: it may go better another time.
const (
	NoRoom     Reason = "no room"
	Impossible Reason = "impossible"
	Trouble    Reason = "trouble"
)

// Changed tells that somebody else wrote the record of a node: the executor that uses it, or an
// operator. Gone: removed it.
type Changed struct {
	Node Node
	Gone bool
}

// Deleted is the outcome of a Delete effect.
type Deleted struct{ Node string }

// Listed is what a provider has, as of Asked.
type Listed struct {
	Provider  string
	Instances []string
	Asked     time.Time
}

// Abandoned tells that the build which used a node is over, and left it in use; or that the hold request
// which kept it is gone.
type Abandoned struct{ Node string }

// Tick tells that time passed.
type Tick struct{}

func (*Supplied) input()      {}
func (*Resumed) input()       {}
func (*Wanted) input()        {}
func (*Reprioritized) input() {}
func (*Withdrawn) input()     {}
func (*Returned) input()      {}
func (*Created) input()       {}
func (*Checked) input()       {}
func (*NotMade) input()       {}
func (*Changed) input()       {}
func (*Deleted) input()       {}
func (*Listed) input()        {}
func (*Abandoned) input()     {}
func (*Tick) input()          {}

// Effect is something to be done because of a step. The set is sealed: it is what is in this file. Each
// may be carried out twice without harm.
type Effect interface{ effect() }

// Create has an instance made. Outcome: Created or NotMade.
type Create struct{ Node, Provider, Label string }

// Check waits until the instance answers. Outcome: Checked or NotMade.
type Check struct{ Node, Provider string }

// Delete has an instance deleted, also one that has no record. Outcome: Deleted. Whatever else is under
// way for the node is stopped.
type Delete struct{ Node, Provider string }

// Fulfil hands nodes out: one for each of the nodeset's, in its order.
type Fulfil struct {
	Request, Provider string
	Nodes             []string
}

// Refuse tells that no provider can.
type Refuse struct{ Request, Why string }

func (*Create) effect() {}
func (*Check) effect()  {}
func (*Delete) effect() {}
func (*Fulfil) effect() {}
func (*Refuse) effect() {}
