package pipeline

// Step applies one input to the pipeline and its tenant's semaphores, and says what must be done now.
// It does no I/O and reads no clock: the same state, semaphores and input always give the same effects.
// touched lists the items that the step changed, made or removed, so that the caller writes only those.
func Step(s *State, sem *Semaphores, m Meta, in Input) (effects []Effect, touched []ItemID) {
	return nil, nil
}
