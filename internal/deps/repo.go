// Package deps understands the dependencies of a deployment: what the jobs of a pipeline really read,
// write, restart and serve, as tasks of their playbooks say, and which edges between jobs follow from
// that. There are two kinds of edges: order (B after A, since B needs what A makes) and mutex (either
// first, but not both at once), and every one carries the rule it follows from, a confidence, what is
// lost without it, and the file and line on both sides. What cannot be known is unknown, never taken
// for independent.
//
// The package is pure: it is given the content as data (see read, which gets it from a checkout with
// Ansible's own loader) and gives findings, pages and patches back. It sees no server and no change.
package deps

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Repo is a repository with a deployment, as far as it matters here.
type Repo struct {
	Jobs      []Job
	Pipelines []Pipeline
	// Files are all files of the checkout, relative to its root, sorted.
	Files []string
	// Inventory are the files of the inventory, which every job reads. Hosts has each host's groups.
	Inventory []string
	Hosts     map[string][]string
	// Fresh are nodes that the inventory does not have: every build gets its own.
	Fresh []string
	// Variables are the top-level keys of files of variables.
	Variables map[string]map[string]Variable
	// Semaphores has the capacity of those that are declared.
	Semaphores map[string]int
	Settings   Settings
	// Problems are what could not be read. Broken are those of the Zuul configuration.
	Problems []Problem
	Broken   []Problem
}

// Variable is one key of a file of variables: where it stands and which other variables it uses.
type Variable struct {
	Line int      `json:"line"`
	Uses []string `json:"uses"`
}

// Place is a line of a file of the repository; Task names what stands there, where it is a task.
type Place struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	Task string `json:"task,omitempty"`
}

// String is "file:line".
func (p Place) String() string {
	switch {
	case p.File == "":
		return "?"
	case p.Line == 0:
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Problem is something that could not be read: what depends on it is unknown.
type Problem struct {
	Job  string `json:"job,omitempty"`
	At   Place  `json:"at"`
	Text string `json:"text"`
	// Lost: nothing of the file is known.
	Lost bool `json:"lost,omitempty"`
}

// Job is one deployment job with the content that it runs.
type Job struct {
	Name        string
	Description string
	At          Place
	// Playbooks are those that do the work; where a job runs one on a bastion, it is that one.
	Playbooks []string
	// Vars are the variables of the job, and its secrets, by name, as text that can be compared.
	Vars     map[string]string
	Matchers []Matcher
	Tasks    []Task
	Plays    []Play
	// Reads are the files of the repository that the content comes from, and as what.
	Reads map[string]string
	// Around are files of what runs its playbooks on a bastion.
	Around map[string]string
	// Uses are the names of variables that occur.
	Uses []string
	// External are roles that are not in the repository.
	External []string
	// Partial: some of it could not be read.
	Partial bool
	// Elsewhere says why nothing of it was read: its content is not in the repository.
	Elsewhere string
	// Private: it works on nodes that are made for it, as tests do: it meets no other job anywhere.
	Private bool
	// Inner: its playbooks are run on a bastion, by a playbook that many jobs share. Controller is the host
	// on which Ansible runs then; empty: the executor, where no two builds meet.
	Inner      bool
	Controller string
	// Aimed: what runs its playbooks names the inventory of the repository, so that they work on its hosts even from a
	// node that is made for the build.
	Aimed bool
	// Nodes are the names in its nodeset.
	Nodes []string
}

// Matcher is one pattern of files or irrelevant-files.
type Matcher struct {
	Pattern    string
	At         Place
	Irrelevant bool
	Match      func(path string) bool `json:"-"`
}

// Play is one play: the pattern of hosts as it is written, and the hosts.
type Play struct {
	Name    string
	Pattern string
	Hosts   []string
	At      Place
	// Inner and Outer are as for a task.
	Inner, Outer bool
}

// Task is one task with rendered arguments, for the hosts for which they are the same. A value that
// could not be rendered is a map with the key "unknown".
type Task struct {
	Name     string
	Module   string
	Args     map[string]any
	Hosts    []string
	Delegate any
	Role     string
	At       Place
	Handler  bool
	// Guarded: it has a condition. Tolerant: its failure does not count. Dry: it only looks what it would do.
	Guarded  bool
	Tolerant bool
	Dry      bool
	Lookups  []string
	// Environment has those variables that say with what a program works (KUBECONFIG and the like).
	Environment map[string]string
	// Inner: it is run by the Ansible of the job's Controller; Outer: it is part of what runs that there.
	Inner, Outer bool
	// Local: it runs on the controller, whatever its hosts. User is who runs it, where that is said.
	Local bool
	User  string
	// Folder: what it sends is a folder. Sources are files of the repository that it sends.
	Folder   bool
	Sources  []string
	Contents []Content
	// Script is the text of a script of the repository that it runs there.
	Script string
	// Objects are those of Kubernetes that a command lays down from files of the repository.
	Objects []map[string]any
}

// Content is what a file says that a task lays down at Dest on its hosts. Source is the file of the
// repository that it is made from; Hash tells whether two are the same.
type Content struct {
	Dest   string `json:"dest"`
	Source string `json:"source"`
	Hash   string `json:"hash"`
	// Paths are absolute paths that it names, with their lines in Source.
	Paths map[string]int `json:"paths"`
	// Ports and Names are what a configuration of a web server listens to, or names of an /etc/hosts.
	Ports []string `json:"ports"`
	Names []string `json:"names"`
	// Databases are hosts and names of databases to which it connects.
	Databases [][2]string `json:"databases"`
	// Stores are hosts and ports of databases and the like that it names; Sockets are those that it tells a program to make.
	Stores  [][2]string `json:"stores"`
	Sockets []string    `json:"sockets"`
	// Lines are those of Source on which the hosts and the URLs stand.
	Lines map[string]int `json:"lines"`
	// URLs are those that it names, without paths.
	URLs []string `json:"urls"`
	// Foreign: its paths are those of a container.
	Foreign bool     `json:"foreign"`
	Compose *Compose `json:"compose"`
}

// Compose is what a compose file says: mounts as host and container path, published ports, files of
// variables, containers.
type Compose struct {
	Mounts [][2]string `json:"mounts"`
	Ports  []string    `json:"ports"`
	Files  []string    `json:"files"`
	Names  []string    `json:"names"`
	Images []string    `json:"images"`
	// Databases are those that a container makes when it starts first; Host: some have the network of their host.
	Databases []string `json:"databases"`
	Host      bool     `json:"host"`
}

// Pipeline is the jobs of one pipeline of a project, with their declared edges.
type Pipeline struct {
	Name    string
	Members []Member
}

// Member is a job in a pipeline.
type Member struct {
	Job        string
	At         Place
	After      []Dependency
	Semaphores []string
}

// Dependency is a declared edge.
type Dependency struct {
	Job  string
	Soft bool
}

// Job finds a job by name; nil where there is none.
func (r *Repo) Job(name string) *Job {
	for i := range r.Jobs {
		if r.Jobs[i].Name == name {
			return &r.Jobs[i]
		}
	}
	return nil
}

// Pipeline finds a pipeline by name; nil where there is none.
func (r *Repo) Pipeline(name string) *Pipeline {
	for i := range r.Pipelines {
		if r.Pipelines[i].Name == name {
			return &r.Pipelines[i]
		}
	}
	return nil
}

// Member finds a job of the pipeline; nil where it is not in it.
func (p *Pipeline) Member(job string) *Member {
	for i := range p.Members {
		if p.Members[i].Job == job {
			return &p.Members[i]
		}
	}
	return nil
}

// Before reports whether the declared edges of a pipeline put a before b, directly or through others.
func (p *Pipeline) Before(a, b string) bool {
	return p.path(a, b, map[string]bool{}, func(Dependency) bool { return true })
}

func (p *Pipeline) path(a, b string, seen map[string]bool, follow func(Dependency) bool) bool {
	m := p.Member(b)
	if m == nil || seen[b] {
		return false
	}
	seen[b] = true
	for _, d := range m.After {
		if follow(d) && p.Member(d.Job) != nil && (d.Job == a || p.path(a, d.Job, seen, follow)) {
			return true
		}
	}
	return false
}

// Setup are the jobs that prepare the ground for others: those that the settings name, else those that
// depend on nothing and that at least half of the other jobs of a pipeline, and three, depend on: directly, and most of
// them for good, unless their name says what they are.
func (r *Repo) Setup() []string {
	if len(r.Settings.Setup) > 0 {
		return r.Settings.Setup
	}
	var out []string
	for _, p := range r.Pipelines {
		for _, m := range p.Members {
			n, hard, named := 0, 0, preparing.MatchString(m.Job)
			for _, o := range p.Members {
				if named && len(m.After) == 0 && p.Before(m.Job, o.Job) {
					n++
				}
				if named {
					continue
				}
				for _, d := range o.After {
					if d.Job == m.Job {
						n++
						if !d.Soft {
							hard++
						}
					}
				}
			}
			if len(m.After) == 0 && n >= 3 && 2*n >= len(p.Members)-1 && (2*hard >= n || named) && !slices.Contains(out, m.Job) {
				out = append(out, m.Job)
			}
		}
	}
	return out
}

// preparing are names of jobs that lay down sources, set up the host that others work from, or hold a lock.
var preparing = regexp.MustCompile(`(?i)bootstrap|set-?up|prepare|checkout|sync-?src|setup-?src|-src$|install-ansible|lock`)

// Short leaves out of the name of a job what all names of deployment jobs begin with, up to a hyphen: for
// pictures. Names stay distinct.
func (r *Repo) Short(name string) string {
	var names []string
	for _, j := range r.Jobs {
		if j.Elsewhere == "" && !j.Private {
			names = append(names, j.Name)
		}
	}
	if len(names) < 3 || !slices.Contains(names, name) {
		return name
	}
	first, last := slices.Min(names), slices.Max(names)
	n := 0
	for n < len(first) && n < len(last) && first[n] == last[n] {
		n++
	}
	cut := strings.LastIndexByte(first[:n], '-') + 1
	return name[cut:]
}
