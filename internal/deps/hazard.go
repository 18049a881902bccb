package deps

// Hazard is that a job read what another one, which ran at the same time, had still to alter.
type Hazard struct {
	Resource Resource `json:"resource"`
	Wrote    Observed `json:"wrote"`
	Read     Observed `json:"read"`
}

// Stale finds what the reader read before the writer had altered it: the one of which that happened first. What was
// altered before it was read, or not at all, is no hazard.
func Stale(writer, reader []Observed) (found *Hazard) {
	of := map[Resource][]*Observed{}
	for i := range writer {
		if w := &writer[i]; alters(w.Verb) && w.Changed {
			of[w.Resource] = append(of[w.Resource], w)
		}
	}
	for i := range reader {
		r := &reader[i]
		if alters(r.Verb) {
			continue
		}
		for _, w := range of[r.Resource] {
			if clash(w, r) && r.Begin.Before(w.End) && (found == nil || r.Begin.Before(found.Read.Begin)) {
				found = &Hazard{Resource: r.Resource, Wrote: *w, Read: *r}
			}
		}
	}
	return found
}
