package node

import (
	"regexp"
	"strings"
	"time"
)

// HoldRequest asks that the nodes of a failing build be kept for people (autohold). See semantics 2.14.
type HoldRequest struct {
	ID      string `json:"id"`
	Tenant  string `json:"tenant"`
	Project string `json:"project"`
	Job     string `json:"job"`
	// RefFilter is a regular expression, anchored at the start, for the ref of the build.
	RefFilter string `json:"ref_filter"`
	Reason    string `json:"reason"`
	// Max is for how many builds; Count for how many it has been so far.
	Max   int `json:"max"`
	Count int `json:"count"`
	// NodeExpiration is how long nodes are held; 0: until the request is deleted.
	NodeExpiration time.Duration `json:"node_expiration"`
	Made           time.Time     `json:"made"`
	// Expired is set when the last of Max was used up.
	Expired time.Time `json:"expired,omitzero"`
}

// ChooseHold finds the request that applies to a failed build: of those for exactly this tenant, project
// and job that are not used up and whose filter matches the ref, the most specific: one for exactly
// this ref, before one for refs that begin alike, before one for any.
func ChooseHold(all []HoldRequest, tenant, project, job, ref string) *HoldRequest {
	var best *HoldRequest
	for i := range all {
		h := &all[i]
		if h.Tenant != tenant || h.Project != project || h.Job != job || h.Count >= h.Max || !h.Expired.IsZero() {
			continue
		}
		re, err := regexp.Compile("^(?:" + h.RefFilter + ")")
		if err != nil || !re.MatchString(ref) {
			continue
		}
		if best == nil || h.rank() < best.rank() {
			best = h
		}
	}
	return best
}

// rank is smaller the more specific the filter is.
func (h *HoldRequest) rank() int {
	switch {
	case h.RefFilter == ".*":
		return 2
	case strings.HasSuffix(h.RefFilter, ".*"):
		return 1
	}
	return 0
}

// HoldUntil is when nodes held from now on are released: after the request's expiration, or the default
// where it has none, but no later than the maximum, where that is not 0. The zero time: never.
func (h *HoldRequest) HoldUntil(now time.Time, def, maximum time.Duration) time.Time {
	d := h.NodeExpiration
	if d == 0 {
		d = def
	}
	if maximum > 0 && (d == 0 || d > maximum) {
		d = maximum
	}
	if d == 0 {
		return time.Time{}
	}
	return now.Add(d)
}
