package api

import "time"

// Lock is shared by buildsets of some pipelines: one of them holds it at a time.
type Lock struct {
	Name string `json:"name"`
	// Ageing in seconds of waiting makes up for one step of precedence; 0: waiting never does.
	Ageing    int       `json:"ageing,omitempty"`
	Pipelines []LockUse `json:"pipelines"`
	// Holder is absent where nobody holds it. Waiting are in the order in which they would get it now.
	Holder  *LockParty  `json:"holder,omitempty"`
	Waiting []LockParty `json:"waiting"`
	// Past are the last times that it was held, oldest first; Use, 0 to 1, which part of the time since the first of
	// them it was held.
	Past []LockHeld `json:"past"`
	Use  float64    `json:"use"`
	Now  time.Time  `json:"now"`
}

// LockUse is a pipeline that shares a lock, with the precedence of its buildsets.
type LockUse struct {
	Pipeline   string `json:"pipeline"`
	Precedence string `json:"precedence"`
}

// LockParty is a buildset that holds a lock, or waits for it, since when. Refs are empty where its pipeline does not
// know it any more.
type LockParty struct {
	Pipeline   string    `json:"pipeline"`
	Item       string    `json:"item"`
	Buildset   string    `json:"buildset"`
	Precedence string    `json:"precedence,omitempty"`
	Since      time.Time `json:"since"`
	Refs       []Ref     `json:"refs"`
	// Ends is when the holder's jobs will probably be done; absent where nobody can tell.
	Ends time.Time `json:"ends,omitzero"`
}

// LockHeld is one time that a lock was held.
type LockHeld struct {
	Pipeline string    `json:"pipeline"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
}
