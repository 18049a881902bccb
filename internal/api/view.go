package api

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// View is what a live stream's events add up to. The zero View is empty.
type View struct {
	Version   string
	Now       time.Time
	Pipelines map[string]Pipeline
	Items     map[string]Item
}

// Apply brings the view to where the event says.
func (v *View) Apply(ev Event) {
	if ev.Snapshot || v.Pipelines == nil {
		v.Pipelines, v.Items = map[string]Pipeline{}, map[string]Item{}
	}
	v.Version, v.Now = ev.Version, ev.Now
	for _, p := range ev.Pipelines {
		v.Pipelines[p.Name] = p
	}
	for _, it := range ev.Items {
		v.Items[it.ID] = it
	}
	for _, n := range ev.GonePipelines {
		delete(v.Pipelines, n)
	}
	for _, id := range ev.GoneItems {
		delete(v.Items, id)
	}
}

// Ordered are the pipelines in the order for people.
func (v *View) Ordered() []Pipeline {
	return slices.SortedFunc(maps.Values(v.Pipelines), func(a, b Pipeline) int {
		return cmp.Or(a.Position-b.Position, cmp.Compare(a.Name, b.Name))
	})
}

// Snapshot is the view as the event that makes it anew: pipelines as Ordered has them, items by age.
func (v *View) Snapshot() Event {
	ev := Event{Version: v.Version, Now: v.Now, Snapshot: true, Pipelines: v.Ordered()}
	for _, it := range v.Items {
		ev.Items = append(ev.Items, it)
	}
	slices.SortFunc(ev.Items, func(a, b Item) int {
		return cmp.Or(a.Enqueued.Compare(b.Enqueued), strings.Compare(a.ID, b.ID))
	})
	return ev
}
