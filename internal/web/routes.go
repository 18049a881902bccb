package web

import (
	"net/http"
	"time"

	"github.com/gozer-ci/gozer/internal/api"
)

const never = -time.Second

var (
	buildFilters = []string{"project", "pipeline", "change", "branch", "patchset", "ref", "newrev", "uuid", "job_name", "voting", "nodeset",
		"result", "final", "held", "complete", "exclude_result", "limit", "skip", "idx_min", "idx_max"}
	buildsetFilters = []string{"project", "pipeline", "change", "branch", "patchset", "ref", "newrev", "uuid", "result", "complete",
		"exclude_result", "limit", "skip", "idx_min", "idx_max"}
)

// routes is everything below /api: Zuul's endpoints (semantics 5.2 to 5.5), then Gozer's own. The first
// that matches counts.
func (s *Server) routes() []*route {
	const t, b = "/api/tenant/{tenant}", "/api/tenant/{tenant}/pipeline/{pipeline}/project/{project...}/branch/{branch...}"
	get, post := http.MethodGet, http.MethodPost
	table := []*route{
		{method: get, path: "/api/info", open: true, about: "what the server can do", answer: api.Info{}, maxAge: time.Minute, get: s.info},
		{method: get, path: "/api/tenants", about: "the tenants", answer: []api.Name{}, get: s.tenants},
		{method: get, path: "/api/connections", about: "the connections to forges", answer: []api.Connection{}, get: s.connections},
		{method: get, path: "/api/components", about: "the live processes by role", answer: map[string][]api.Component{}, get: s.components},
		{method: get, path: "/api/authorizations", open: true, about: "what the bearer may do", answer: api.Authorizations{}, maxAge: never, get: s.authorizations},
		{method: post, path: "/api/connection/{name}/payload", open: true, about: "a forge's webhook", raw: s.hook},

		{method: get, path: t + "/info", open: true, about: "what the server can do for the tenant", answer: api.Info{}, maxAge: time.Minute, get: s.info},
		{method: get, path: t + "/authorizations", open: true, about: "what the bearer may do in the tenant", answer: api.Authorizations{}, maxAge: never, get: s.authorizations},
		{method: get, path: t + "/status", about: "everything that is in pipelines now", answer: api.Status{}, get: s.status},
		{method: get, path: t + "/status/change/{id}", about: "the items with a change (number,patchset) or revision", answer: []api.StatusItem{}, get: s.statusChange},
		{method: get, path: t + "/explain", about: "why a change, a ref or an item is where it is, and each of its jobs", query: []string{"of"}, answer: api.Explained{}, maxAge: never, get: s.explain},
		{method: get, path: t + "/tenant-status", about: "how many configuration errors there are", answer: tenantStatus{}, get: s.tenantStatus},
		{method: get, path: t + "/config-errors", about: "problems of the configuration", query: []string{"project", "branch", "severity", "name", "limit", "skip"}, answer: []api.ConfigError{}, get: s.configErrors},
		{method: get, path: t + "/jobs", about: "the jobs", answer: []api.JobSummary{}, get: s.jobs},
		{method: get, path: t + "/job/{name...}", about: "all variants of a job", answer: []api.Raw{}, get: s.job},
		{method: get, path: t + "/projects", about: "the projects", answer: []api.Project{}, get: s.projects},
		{method: get, path: t + "/project/{project...}/autohold", about: "the holds of a project", answer: []api.Autohold{}, get: s.projectHolds},
		{method: get, path: t + "/project/{project...}", about: "one project with its pipelines and jobs", get: s.project},
		{method: get, path: t + "/pipelines", about: "the pipelines", answer: []api.PipelineSummary{}, get: s.pipelines},
		{method: get, path: b + "/freeze-jobs", about: "the job graph of a branch's tip", answer: []api.FreezeJob{}, get: s.freezeJobs},
		{method: get, path: b + "/freeze-job/{job...}", about: "one frozen job of a branch's tip; secrets are not told", get: s.freezeJob},
		{method: get, path: t + "/labels", about: "the node labels", answer: []api.Name{}, get: s.labels},
		{method: get, path: t + "/nodes", about: "the test nodes", answer: []api.Node{}, get: s.nodes},
		{method: get, path: t + "/node/{id}", about: "one test node", answer: api.Node{}, get: s.node},
		{method: get, path: t + "/node/{id}/shell", about: "websocket: a shell on a node that is held or in use", admin: true, maxAge: never, raw: s.shell},
		{method: post, path: t + "/node/{id}/hold", about: "keep a node for people", body: api.NodeHoldRequest{}, answer: true, admin: true, raw: s.holdNode},
		{method: http.MethodDelete, path: t + "/node/{id}", about: "give a node up", query: []string{"force"}, admin: true, raw: s.deleteNode},
		{method: get, path: "/api/node-key", about: "the public SSH key that nodes must let in", raw: s.nodeKey},
		{method: get, path: t + "/semaphores", about: "the semaphores and who holds them", answer: []api.Semaphore{}, get: s.semaphores},
		{method: get, path: t + "/locks", about: "the locks that buildsets share: who holds each, who waits, and its use", answer: []api.Lock{}, maxAge: never, get: s.locks},
		{method: get, path: t + "/autohold", about: "the holds", answer: []api.Autohold{}, get: s.holds},
		{method: get, path: t + "/autohold/{id}", about: "one hold", answer: api.Autohold{}, get: s.hold},
		{method: get, path: t + "/builds", about: "finished builds, newest first", query: buildFilters, answer: []api.Build{}, get: s.builds},
		{method: get, path: t + "/build/{uuid}", about: "one finished build", answer: api.Build{}, get: s.build},
		{method: get, path: t + "/buildsets", about: "buildsets, newest first", query: buildsetFilters, answer: []api.Buildset{}, get: s.buildsets},
		{method: get, path: t + "/buildset/{uuid}/races", about: "what jobs of an observed buildset touched without an order between them", answer: api.Races{}, maxAge: never, get: s.races},
		{method: get, path: t + "/buildset/{uuid}/graph", about: "a buildset's jobs in time: critical path, lower bound, why each waited", answer: api.Graph{}, get: s.graph},
		{method: get, path: t + "/buildset/{uuid}", about: "one buildset with its builds", answer: api.Buildset{}, get: s.buildset},
		{method: get, path: t + "/build-times", about: "durations for charts", query: append([]string{"start_time", "end_time"}, buildFilters...), answer: []api.BuildTime{}, get: s.buildTimes},
		{method: get, path: t + "/badge", about: "a picture: does the newest buildset pass?", query: []string{"project", "pipeline", "branch"}, maxAge: never, raw: s.badge},
		{method: get, path: t + "/key/{project...}.pub", about: "the public key for secrets", raw: s.key},
		{method: get, path: t + "/project-ssh-key/{project...}.pub", about: "the public SSH key", raw: s.sshKey},
		{method: get, path: t + "/console-stream", about: "websocket: the log of a build as it grows", maxAge: never, raw: s.console},

		{method: get, path: t + "/events", about: "server-sent events: a snapshot, then what changes", query: []string{"last-event-id"}, answer: api.Event{}, maxAge: never, raw: s.events},
		{method: get, path: "/api/build/{uuid}/log", about: "a range of lines of a build's log", query: []string{"from", "n"}, answer: api.LogLines{}, maxAge: never, get: s.logLines},
		{method: get, path: "/api/build/{uuid}/log/stream", about: "JSON lines: the log from a line on, as it grows; of some tasks only", query: []string{"from", "task"}, answer: api.LogLines{}, maxAge: never, raw: s.logStream},
		{method: get, path: "/api/build/{uuid}/log/search", about: "lines that contain a text or match a pattern", query: []string{"q", "pattern", "from", "limit"}, answer: api.LogHits{}, maxAge: never, get: s.logSearch},
		{method: get, path: "/api/build/{uuid}/file/{name}", about: "a further file that is kept for a build, such as job-output.json", maxAge: never, raw: s.logFile},
		{method: get, path: t + "/build/{uuid}/explain", about: "why a build failed: the task, the host, the last lines, and whether that is new", answer: api.ExplainedBuild{}, get: s.explainBuild},
		{method: get, path: t + "/recipe", about: "what a job would start with for a change now, without secrets, to run it elsewhere", query: []string{"project", "change", "job", "pipeline"}, answer: api.Recipe{}, maxAge: never, get: s.trial},
		{method: get, path: t + "/build/{uuid}/recipe", about: "what a build was made of, without secrets, to run it again elsewhere", answer: api.Recipe{}, maxAge: never, get: s.recipe},
		{method: get, path: "/api/build/{uuid}/log/index", about: "which playbook, play and task is where in the log", query: []string{"task"}, answer: api.LogIndex{}, maxAge: never, get: s.logIndex},
		{method: get, path: "/api/build/{uuid}/log.txt", about: "the log as plain text; Range: bytes=... gives a part", maxAge: never, raw: s.logText},

		{method: post, path: t + "/project/{project...}/enqueue", about: "enqueue a change or a ref", body: api.EnqueueRequest{}, answer: true, admin: true, raw: s.enqueue},
		{method: post, path: t + "/project/{project...}/dequeue", about: "take a change or a ref out of a pipeline", body: api.DequeueRequest{}, answer: true, admin: true, raw: s.dequeue},
		{method: post, path: t + "/project/{project...}/autohold", about: "keep the nodes of the next failures", body: api.AutoholdRequest{}, answer: true, admin: true, raw: s.autohold},
		{method: post, path: t + "/reconfigure", about: "read the tenant file and the configuration again", body: api.ReconfigureRequest{}, answer: true, admin: true, raw: s.reconfigure},
		{method: post, path: t + "/promote", about: "put changes to the front", body: api.PromoteRequest{}, answer: true, admin: true, raw: s.promote},
		{method: post, path: t + "/pause", about: "stop a pipeline from starting anything new, or let it go on", body: api.PauseRequest{}, answer: true, admin: true, raw: s.pause},
		{method: get, path: t + "/audit", about: "what operators did, newest first: who, when, what, outcome", query: []string{"limit"}, answer: []api.Audit{}, admin: true, maxAge: never, raw: s.listAudits},
		{method: http.MethodDelete, path: t + "/autohold/{id}", about: "end a hold", admin: true, raw: s.dropHold},
	}
	for _, rt := range table {
		rt.compile()
	}
	return table
}
