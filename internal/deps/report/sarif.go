package report

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"github.com/gozer-ci/gozer/internal/deps"
)

// The parts of SARIF 2.1.0 that code hosts read.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver sarifDriver `json:"driver"`
		} `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID    string    `json:"id"`
		Short sarifText `json:"shortDescription"`
		Full  sarifText `json:"fullDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Related      []sarifLocation    `json:"relatedLocations,omitempty"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
		Properties   map[string]any     `json:"properties"`
	}
	sarifLocation struct {
		ID       int           `json:"id,omitempty"`
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact struct {
			URI string `json:"uri"`
		} `json:"artifactLocation"`
		Region *sarifRegion `json:"region,omitempty"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
)

func sarif(w io.Writer, out *deps.Audit) error {
	run := sarifRun{Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "gozer deps audit", InformationURI: "https://github.com/gozer-ci/gozer"}
	for _, r := range deps.Rules {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{r.ID, sarifText{r.Title}, sarifText{r.About}})
	}
	for _, f := range out.Findings {
		run.Results = append(run.Results, result(f))
	}
	for _, f := range out.Waived {
		r := result(f)
		r.Suppressions = []sarifSuppression{{"external", f.Waived}}
		run.Results = append(run.Results, r)
	}
	return JSON(w, sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

func result(f deps.Finding) sarifResult {
	text := f.Text
	if f.Fix != "" {
		text += ". To do: " + f.Fix + "."
	}
	r := sarifResult{RuleID: f.Rule, Level: string(f.Level), Message: sarifText{text}, Locations: []sarifLocation{location(0, f.At)},
		RuleIndex: slices.IndexFunc(deps.Rules, func(x deps.Rule) bool { return x.ID == f.Rule }), Fingerprints: map[string]string{"finding/v1": fingerprint(f)},
		Properties: map[string]any{"confidence": f.Confidence, "severity": f.Severity, "pipelines": f.Pipelines, "jobs": f.Jobs}}
	for i, p := range f.Also {
		r.Related = append(r.Related, location(i+1, p))
	}
	return r
}

// fingerprint is what makes a finding the same one although lines have moved: its rule, jobs, and things.
func fingerprint(f deps.Finding) string {
	h := sha256.New()
	fmt.Fprintln(h, f.Rule, f.Jobs, f.At.File)
	if len(f.Edges) > 0 {
		fmt.Fprintln(h, f.Edges[0].Resource)
	} else {
		fmt.Fprintln(h, f.Text)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func location(id int, p deps.Place) sarifLocation {
	l := sarifLocation{ID: id}
	l.Physical.Artifact.URI = p.File
	if p.Line > 0 {
		l.Physical.Region = &sarifRegion{p.Line}
	}
	return l
}
