package pipeline

// A buildset's view stays until none of its builds can use it: what was canceled still runs until its executor says
// otherwise.

// dropView has the view of a buildset removed that has come to its end.
func (st *stepper) dropView(bs *Buildset) {
	if bs.Viewed && !st.stopping(bs.ID) {
		st.emit(&DropView{Buildset: bs.ID})
	}
}

// stoppedViewing has a view removed that only canceled builds kept, the last of which has ended now.
func (st *stepper) stoppedViewing(s Stopping) {
	if !s.Viewed || st.stopping(s.Buildset) {
		return
	}
	for _, it := range st.s.Items {
		if it.Buildset.ID == s.Buildset {
			return
		}
	}
	st.emit(&DropView{Buildset: s.Buildset})
}
