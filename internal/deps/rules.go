package deps

// Rule says what a rule of edges or of findings looks for, for people.
type Rule struct {
	ID, Title, About string
}

// Rules are all rules, in the order of the documentation.
var Rules = []Rule{
	{"R1", "reads what another writes", "One job writes a file, a secret or an object; the other reads it, on the same host."},
	{"R2", "reads below what another fills", "One job fills a directory, with certificates say; the other reads below it."},
	{"R3", "restarts what another sets up", "One job restarts or reloads a service whose unit another job owns."},
	{"R4", "write the same thing", "Two jobs write the same file, secret or object: whoever comes second undoes the first."},
	{"R4b", "writes below what another manages", "One job manages a whole tree, as git and synchronize do, below which another writes."},
	{"R5", "need the same lock of a host", "Two jobs use the package manager or the firewall of the same host."},
	{"R6", "need or write the same Kubernetes object", "Two jobs write, or one writes and the other reads, the same object."},
	{"R6b", "uses a namespace that another makes", "One job makes a namespace in which the other has objects."},
	{"R7", "needs or manages the same account", "One job makes an account that the other needs; or two manage the same one, which is often harmless."},
	{"R8", "run the same playbook", "Two jobs run the same playbook: they do the same at the same time, and their logs have the same name."},
	{"R9", "needs what another installs", "Modules need things that they do not name: a host, a kubeconfig, a clouds.yaml, the docker service, a token."},
	{"R10", "needs secrets while another restarts their store", "One job looks up secrets in a store that another may restart; harmless where the store is highly available."},
	{"R11", "talks to what another serves", "One job calls an endpoint that another sets up."},
	{"R12", "configures what another sets up", "A job only calls an API, and has a group or role in common with one that deploys: a suggestion."},
	{"R13", "run content from elsewhere", "Two jobs run the same role, which is not in the repository, on the same host."},
	{"R14", "must be accepted by another's admission controller", "One job makes objects in a cluster for which another sets up an admission controller."},
	{"R15", "needs DNS records of another", "One job gets certificates for names in a zone that another writes."},
	{"R16", "reboots a host on which another works", "One job reboots a host; a job that works there meanwhile fails half way."},
	{"stated", "said in gozer.yaml", "An entry in gozer.yaml says it, with the reason."},
	{"L1", "a matcher that matches nothing", "A pattern of files matches no file of the repository."},
	{"L2", "content that no matcher covers", "A change of a file that the job uses does not trigger it."},
	{"L3", "a matcher of what is never read", "A pattern of files triggers the job for files that it never reads."},
	{"L4", "a soft dependency that does nothing", "The job depended upon is never in that pipeline."},
	{"L5", "a set-up job that is not sure to run", "The job that prepares the ground is a soft dependency, or absent from a pipeline."},
	{"L6", "hosts that other plays exclude", "A group that most plays exclude is not excluded here."},
	{"L7", "pipelines that differ", "A job depends on other jobs in one pipeline than in another."},
	{"L8", "a cycle", "The declared and the inferred edges together have a cycle."},
	{"L9", "a reboot that loses state", "A step reboots after steps whose effect a reboot undoes."},
	{"config", "Zuul configuration that cannot be loaded", "A file of the configuration has a mistake: what stands there was not looked at."},
	{"idle", "a dependency for which nothing speaks", "No evidence was found for a declared dependency."},
}

// RuleOf finds a rule; one that only has its name where it is not known.
func RuleOf(id string) Rule {
	for _, r := range Rules {
		if r.ID == id {
			return r
		}
	}
	return Rule{ID: id, Title: id}
}
