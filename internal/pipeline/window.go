package pipeline

// firstWindow is the window with which a shared queue begins.
func (st *stepper) firstWindow() int {
	if st.s.Settings.Manager == Serial {
		return 1
	}
	return st.s.Settings.Window.Size
}

// adaptive tells whether queues widen and narrow their windows: in dependent pipelines, where one is set.
func (st *stepper) adaptive(q *Queue) bool {
	return st.s.Settings.Manager == Dependent && q.Window > 0
}

// widen enlarges the window after an item merged, up to the ceiling.
func (st *stepper) widen(q *Queue) {
	if !st.adaptive(q) {
		return
	}
	w := st.s.Settings.Window
	if w.IncreaseType == exponential {
		q.Window *= w.IncreaseFactor
	} else {
		q.Window += w.IncreaseFactor
	}
	if w.Ceiling > 0 && q.Window > w.Ceiling {
		q.Window = w.Ceiling
	}
}

// narrow shrinks the window after an item did not succeed, down to the floor.
func (st *stepper) narrow(q *Queue) {
	if !st.adaptive(q) {
		return
	}
	w := st.s.Settings.Window
	if w.DecreaseType == exponential {
		if w.DecreaseFactor > 0 {
			q.Window /= w.DecreaseFactor
		}
	} else {
		q.Window -= w.DecreaseFactor
	}
	q.Window = max(q.Window, w.Floor)
}

const exponential = "exponential"

// static tells whether the settings describe a window that never adapts: exponential growth by one in
// both directions. Zuul honours that on reconfiguration, semantics 2.4.
func (w WindowSettings) static() bool {
	return w.Size > 0 && w.IncreaseType == exponential && w.DecreaseType == exponential &&
		w.IncreaseFactor == 1 && w.DecreaseFactor == 1
}

// reconfigured is the window of a queue under new settings: an adapted size survives, but not below the
// new floor.
func (st *stepper) reconfigured(old int) int {
	w := st.s.Settings.Window
	switch {
	case st.s.Settings.Manager == Serial:
		return 1
	case w.Size == 0:
		return 0
	case old == 0 || w.static():
		return w.Size
	}
	return max(old, w.Floor)
}
