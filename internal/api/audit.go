package api

import (
	"context"
	"fmt"
	"time"
)

// Audit is the record of something that an operator did.
type Audit struct {
	At     time.Time `json:"at"`
	Who    string    `json:"who"`
	Tenant string    `json:"tenant"`
	// Action is the verb: enqueue, dequeue, promote, pause, autohold, node-delete...
	Action string `json:"action"`
	// What it was done to: words to words, or a text.
	What any `json:"what"`
	// Outcome is done, or why not; empty while it is under way, and where the server did not live to say.
	Outcome string `json:"outcome,omitempty"`
}

// Audits lists what operators did, the newest first, as many as limit says.
func (c *Client) Audits(ctx context.Context, tenant string, limit int) (out []Audit, err error) {
	return out, c.get(ctx, inTenant(tenant, fmt.Sprintf("audit?limit=%d", limit)), &out)
}
