package api

import "time"

// Status is Zuul's status of a tenant. Times are milliseconds since 1970.
type Status struct {
	Version          string                `json:"zuul_version"`
	TriggerQueue     Length                `json:"trigger_event_queue"`
	ManagementQueue  Length                `json:"management_event_queue"`
	ConnectionQueues map[string]LengthItem `json:"connection_event_queues"`
	LastReconfigured int64                 `json:"last_reconfigured"`
	Pipelines        []StatusPipeline      `json:"pipelines"`
}

// Length and LengthItem say how many events wait.
type (
	Length struct {
		Length int `json:"length"`
	}
	LengthItem = Length
)

// StatusPipeline is one pipeline of a Status.
type StatusPipeline struct {
	Name             string        `json:"name"`
	Description      string        `json:"description"`
	State            string        `json:"state"`
	Manager          string        `json:"manager"`
	Triggers         []Driver      `json:"triggers"`
	TriggerEvents    int           `json:"trigger_events"`
	ResultEvents     int           `json:"result_events"`
	ManagementEvents int           `json:"management_events"`
	Queues           []StatusQueue `json:"change_queues"`
}

// Driver names a trigger's driver.
type Driver struct {
	Driver string `json:"driver"`
}

// StatusQueue is a change queue that is not empty; a new head begins at each item with none ahead.
type StatusQueue struct {
	Name   string         `json:"name"`
	Branch string         `json:"branch"`
	Window int            `json:"window"`
	Heads  [][]StatusItem `json:"heads"`
}

// StatusItem is an item of a Status.
type StatusItem struct {
	ID             string      `json:"id"`
	Active         bool        `json:"active"`
	Live           bool        `json:"live"`
	Refs           []StatusRef `json:"refs"`
	ItemAhead      *string     `json:"item_ahead"`
	ItemsBehind    []string    `json:"items_behind"`
	FailingReasons []string    `json:"failing_reasons"`
	ZuulRef        string      `json:"zuul_ref"`
	EnqueueTime    int64       `json:"enqueue_time"`
	RemainingTime  *int64      `json:"remaining_time"`
	Jobs           []StatusJob `json:"jobs"`
}

// StatusRef is a change or ref of a StatusItem.
type StatusRef struct {
	ID               string  `json:"id"`
	Ref              string  `json:"ref"`
	URL              string  `json:"url"`
	Project          string  `json:"project"`
	ProjectCanonical string  `json:"project_canonical"`
	Owner            *string `json:"owner"`
}

// StatusJob is a job of a StatusItem.
type StatusJob struct {
	Name          string   `json:"name"`
	Dependencies  []string `json:"dependencies"`
	ElapsedTime   *int64   `json:"elapsed_time"`
	RemainingTime *int64   `json:"remaining_time"`
	URL           *string  `json:"url"`
	FingerURL     *string  `json:"finger_url"`
	ReportURL     *string  `json:"report_url"`
	Result        *string  `json:"result"`
	Voting        bool     `json:"voting"`
	UUID          *string  `json:"uuid"`
	ExecuteTime   *float64 `json:"execute_time"`
	StartTime     *float64 `json:"start_time"`
	EndTime       *float64 `json:"end_time"`
	EstimatedTime *float64 `json:"estimated_time"`
	Pipeline      string   `json:"pipeline"`
	Canceled      *bool    `json:"canceled"`
	Paused        *bool    `json:"paused"`
	PreFail       *bool    `json:"pre_fail"`
	Retry         *bool    `json:"retry"`
	Tries         int      `json:"tries"`
	Queued        bool     `json:"queued"`
	WaitingStatus *string  `json:"waiting_status"`
}

// HistoryRef is a ref as Zuul's history tells it.
type HistoryRef struct {
	Project  string  `json:"project"`
	Branch   string  `json:"branch"`
	Change   *string `json:"change"`
	Patchset *string `json:"patchset"`
	Ref      string  `json:"ref"`
	OldRev   *string `json:"oldrev"`
	NewRev   *string `json:"newrev"`
	RefURL   string  `json:"ref_url"`
}

// Build is a finished build as Zuul's history tells it. Times are like 2026-03-01T12:00:00, in UTC.
type Build struct {
	ID             int64         `json:"_id"`
	UUID           string        `json:"uuid"`
	JobName        string        `json:"job_name"`
	Result         string        `json:"result"`
	Held           bool          `json:"held"`
	StartTime      *string       `json:"start_time"`
	EndTime        *string       `json:"end_time"`
	Duration       *float64      `json:"duration"`
	Voting         bool          `json:"voting"`
	LogURL         *string       `json:"log_url"`
	Nodeset        *string       `json:"nodeset"`
	ErrorDetail    *string       `json:"error_detail"`
	Final          bool          `json:"final"`
	Artifacts      []Artifact    `json:"artifacts"`
	Provides       []Name        `json:"provides"`
	Ref            HistoryRef    `json:"ref"`
	Pipeline       string        `json:"pipeline"`
	EventID        string        `json:"event_id"`
	EventTimestamp *string       `json:"event_timestamp"`
	Buildset       BuildsetShort `json:"buildset"`
	// Queued and Waited are Gozer's own: when it could have run, and why it did not.
	Queued *string `json:"queued_time,omitempty"`
	Waited string  `json:"waited,omitempty"`
}

// BuildsetShort is what a build tells of its buildset.
type BuildsetShort struct {
	UUID string       `json:"uuid"`
	Refs []HistoryRef `json:"refs,omitempty"`
}

// Artifact is something that a build left.
type Artifact struct {
	Name     string         `json:"name"`
	URL      string         `json:"url"`
	Metadata map[string]any `json:"metadata"`
}

// Name is an object with nothing but a name.
type Name struct {
	Name string `json:"name"`
}

// Buildset is a buildset as Zuul's history tells it.
type Buildset struct {
	ID             int64        `json:"_id"`
	UUID           string       `json:"uuid"`
	Result         string       `json:"result"`
	Message        string       `json:"message"`
	Pipeline       string       `json:"pipeline"`
	EventID        string       `json:"event_id"`
	EventTimestamp *string      `json:"event_timestamp"`
	FirstStart     *string      `json:"first_build_start_time"`
	LastEnd        *string      `json:"last_build_end_time"`
	Refs           []HistoryRef `json:"refs"`
	// Builds and RetryBuilds come with one buildset only.
	Builds      []Build `json:"builds,omitempty"`
	RetryBuilds []Build `json:"retry_builds,omitempty"`
}

// BuildTime is one point of a duration chart.
type BuildTime struct {
	UUID      string   `json:"_id"`
	JobName   string   `json:"job_name"`
	Project   string   `json:"project"`
	Branch    string   `json:"branch"`
	Ref       string   `json:"ref"`
	Pipeline  string   `json:"pipeline"`
	Result    string   `json:"result"`
	Final     bool     `json:"final"`
	StartTime *string  `json:"start_time"`
	EndTime   *string  `json:"end_time"`
	Duration  *float64 `json:"duration"`
}

// Info says what the server can do.
type Info struct {
	Info struct {
		Capabilities struct {
			JobHistory bool     `json:"job_history"`
			Auth       AuthInfo `json:"auth"`
		} `json:"capabilities"`
		Stats     *struct{} `json:"stats"`
		WebSocket string    `json:"websocket_url"`
		Tenant    string    `json:"tenant,omitempty"`
	} `json:"info"`
}

// AuthInfo tells how to sign in.
type AuthInfo struct {
	Realms        map[string]Realm `json:"realms"`
	DefaultRealm  string           `json:"default_realm"`
	ReadProtected bool             `json:"read_protected"`
	NIZ           bool             `json:"niz"`
}

// Realm is one authenticator.
type Realm struct {
	Authority string `json:"authority,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Driver    string `json:"driver"`
	Scope     string `json:"scope,omitempty"`
}

// Authorizations tells what the bearer of the token may do.
type Authorizations struct {
	Zuul struct {
		Admin bool     `json:"admin"`
		Scope []string `json:"scope"`
	} `json:"zuul"`
}

// Connection is one connection to a forge.
type Connection struct {
	Name      string `json:"name"`
	Driver    string `json:"driver"`
	BaseURL   string `json:"baseurl"`
	Canonical string `json:"canonical_hostname"`
	Server    string `json:"server"`
}

// Component is one live process in one role.
type Component struct {
	Hostname string `json:"hostname"`
	State    string `json:"state"`
	Version  string `json:"version"`
	ID       string `json:"id,omitempty"`
	// Started is when the process began; Reads and Writes are the newest formats of records that it can read
	// and the one that it writes; Owns is the work that it holds now: "tenant t", "pipeline t gate",
	// "provider p", "3 build".
	Started time.Time `json:"started,omitzero"`
	Reads   int       `json:"reads,omitempty"`
	Writes  int       `json:"writes,omitempty"`
	Owns    []string  `json:"owns"`
	// Component names what stays when its processes come and go. Paused is who had it take no more work, and why;
	// it stays so when it is started anew.
	Component string          `json:"component,omitempty"`
	Paused    *ComponentPause `json:"paused,omitempty"`
	// Detail is for people.
	Detail map[string]any `json:"detail,omitempty"`
}

// ComponentPause is who paused a component, when and why.
type ComponentPause struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// SourceContext is where a declaration stands.
type SourceContext struct {
	Project string `json:"project"`
	Branch  string `json:"branch"`
	Path    string `json:"path"`
}

// ConfigError is a problem in a tenant's configuration.
type ConfigError struct {
	Source     *SourceContext `json:"source_context"`
	Error      string         `json:"error"`
	ShortError string         `json:"short_error"`
	Severity   string         `json:"severity"`
	Name       string         `json:"name"`
	// Line is Gozer's own, counted from 1; 0 is not known.
	Line int `json:"line,omitempty"`
}

// JobSummary is a line of the list of jobs.
type JobSummary struct {
	Name        string           `json:"name"`
	Description string           `json:"description"`
	Tags        []string         `json:"tags"`
	Variants    []VariantSummary `json:"variants"`
}

// VariantSummary is what the list of jobs tells of a variant.
type VariantSummary struct {
	Parent   string   `json:"parent"`
	Branches []string `json:"branches"`
}

// Project is a line of the list of projects.
type Project struct {
	Name       string `json:"name"`
	Connection string `json:"connection_name"`
	Canonical  string `json:"canonical_name"`
	// Type is config or untrusted.
	Type string `json:"type"`
}

// PipelineSummary is a line of the list of pipelines.
type PipelineSummary struct {
	Name     string   `json:"name"`
	Triggers []Driver `json:"triggers"`
}

// FreezeJob is one job of a graph frozen for the tip of a branch.
type FreezeJob struct {
	Name         string       `json:"name"`
	Dependencies []Dependency `json:"dependencies"`
}

// Dependency is an edge, in Zuul's words.
type Dependency struct {
	Name string `json:"name"`
	Soft bool   `json:"soft"`
}

// Node is a test node.
type Node struct {
	ID         string   `json:"id"`
	Type       []string `json:"type"`
	Connection string   `json:"connection_type"`
	External   string   `json:"external_id"`
	Provider   string   `json:"provider"`
	State      string   `json:"state"`
	StateTime  float64  `json:"state_time"`
	Comment    string   `json:"comment"`
	UUID       string   `json:"uuid"`
	Label      string   `json:"label"`
	// Made is when it was wished for, in seconds since 1970 as all times here; the others say who uses it.
	Made    float64 `json:"made"`
	Tenant  string  `json:"tenant,omitempty"`
	Project string  `json:"project,omitempty"`
	Job     string  `json:"job,omitempty"`
	Build   string  `json:"build,omitempty"`
	Request string  `json:"request,omitempty"`
	// Hold is the hold request that keeps it, and HoldUntil the end of that, where there is one.
	Hold      string   `json:"hold,omitempty"`
	HoldUntil *float64 `json:"hold_until,omitempty"`
	// How to reach it.
	Host     string   `json:"host,omitempty"`
	Port     int      `json:"port,omitempty"`
	User     string   `json:"user,omitempty"`
	Features []string `json:"features,omitempty"`
}

// NodeHoldRequest keeps one node for people; Expiration in seconds, 0: until it is deleted.
type NodeHoldRequest struct {
	Reason     string `json:"reason"`
	Expiration int    `json:"node_hold_expiration"`
}

// ShellStart is the first message to a node's shell: a command (empty: a login shell), and the terminal
// (no Term: none). After it the client sends bytes to stdin as binary messages and ShellSay as text; the
// server sends binary messages, the first byte of which is 1 for stdout and 2 for stderr, and at the end
// ShellEnd as text.
type ShellStart struct {
	Command string `json:"command,omitempty"`
	Term    string `json:"term,omitempty"`
	Rows    int    `json:"rows,omitempty"`
	Cols    int    `json:"cols,omitempty"`
}

// ShellSay changes the size of the terminal, or ends stdin.
type ShellSay struct {
	Rows int  `json:"rows,omitempty"`
	Cols int  `json:"cols,omitempty"`
	EOF  bool `json:"eof,omitempty"`
}

// ShellEnd tells how the session ended: the exit code, or what went wrong.
type ShellEnd struct {
	Exit  int    `json:"exit"`
	Error string `json:"error,omitempty"`
}

// Semaphore is a semaphore with those who hold it.
type Semaphore struct {
	Name    string           `json:"name"`
	Global  bool             `json:"global"`
	Max     int              `json:"max"`
	Holders SemaphoreHolders `json:"holders"`
}

// SemaphoreHolders counts holders; those of other tenants are not named.
type SemaphoreHolders struct {
	Count        int               `json:"count"`
	ThisTenant   []SemaphoreHolder `json:"this_tenant"`
	OtherTenants int               `json:"other_tenants"`
}

// SemaphoreHolder is one job that holds a semaphore.
type SemaphoreHolder struct {
	Buildset string `json:"buildset_uuid"`
	Job      string `json:"job_name"`
}

// Autohold asks to keep the nodes of the next failures.
type Autohold struct {
	ID             string   `json:"id"`
	Tenant         string   `json:"tenant"`
	Project        string   `json:"project"`
	Job            string   `json:"job"`
	RefFilter      string   `json:"ref_filter"`
	MaxCount       int      `json:"max_count"`
	CurrentCount   int      `json:"current_count"`
	Reason         string   `json:"reason"`
	NodeExpiration int      `json:"node_expiration"`
	Expired        *float64 `json:"expired"`
	Nodes          []Held   `json:"nodes"`
}

// Held are nodes kept for one build.
type Held struct {
	Build string   `json:"build"`
	Nodes []string `json:"nodes"`
}

// EnqueueRequest enqueues a change, or a ref.
type EnqueueRequest struct {
	Trigger  string `json:"trigger,omitempty"`
	Pipeline string `json:"pipeline"`
	Change   string `json:"change,omitempty"`
	Ref      string `json:"ref,omitempty"`
	OldRev   string `json:"oldrev,omitempty"`
	NewRev   string `json:"newrev,omitempty"`
}

// DequeueRequest takes a change, or a ref, out of a pipeline: exactly one of both.
type DequeueRequest struct {
	Pipeline string `json:"pipeline"`
	Change   string `json:"change,omitempty"`
	Ref      string `json:"ref,omitempty"`
}

// PromoteRequest puts changes ("number,patchset") to the front of their queues.
type PromoteRequest struct {
	Pipeline string   `json:"pipeline"`
	Changes  []string `json:"changes"`
}

// PauseRequest stops a pipeline from starting anything new, for a reason; an empty one lets it go on.
type PauseRequest struct {
	Pipeline string `json:"pipeline"`
	Reason   string `json:"reason"`
}

// ReconfigureRequest has a tenant's configuration read again. How is full (everything anew), smart (only where the
// tenant file says something else of the tenant) or tenant (like full; Zuul's word for one tenant).
type ReconfigureRequest struct {
	How string `json:"how"`
}

// AutoholdRequest asks for an Autohold; Change and Ref exclude each other.
type AutoholdRequest struct {
	Job        string `json:"job"`
	Reason     string `json:"reason"`
	Count      int    `json:"count"`
	Expiration int    `json:"node_hold_expiration"`
	Change     string `json:"change,omitempty"`
	Ref        string `json:"ref,omitempty"`
}
