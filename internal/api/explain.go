package api

import (
	"context"
	"net/url"
)

// Explained says of a change, or of one item, why it is where it is.
type Explained struct {
	// Items with the change, pipeline by pipeline.
	Items []ExplainedItem `json:"items"`
	// Elsewhere are the pipelines that do not have it.
	Elsewhere []ExplainedAbsence `json:"elsewhere,omitempty"`
}

// ExplainedItem is one item, with a sentence about it and about each of its jobs.
type ExplainedItem struct {
	Item     string `json:"item"`
	Pipeline string `json:"pipeline"`
	Refs     []Ref  `json:"refs"`
	// State is that of Item.
	State string         `json:"state"`
	Why   string         `json:"why"`
	Jobs  []ExplainedJob `json:"jobs"`
	// LeftOut are jobs that the project names for the pipeline, and that do not run for this item.
	LeftOut []ExplainedJob `json:"left_out,omitempty"`
}

// ExplainedJob is one job. State is that of Job; empty for one that was left out.
type ExplainedJob struct {
	Name  string `json:"name"`
	State string `json:"state,omitempty"`
	Why   string `json:"why"`
}

// ExplainedAbsence is why a pipeline does not have a change.
type ExplainedAbsence struct {
	Pipeline string `json:"pipeline"`
	Why      string `json:"why"`
}

// Explain asks why a change (number, or number and patch set), a ref or an item is where it is.
func (c *Client) Explain(ctx context.Context, tenant, what string) (*Explained, error) {
	out := new(Explained)
	return out, c.get(ctx, inTenant(tenant, "explain?of="+url.QueryEscape(what)), out)
}
