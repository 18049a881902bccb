package settings

import (
	"slices"
	"strings"
	"time"
)

// Provider makes nodes.
type Provider struct {
	Name   string `yaml:"name"`
	Driver string `yaml:"driver"`
	// MaxNodes bounds its nodes at one time; 0 is no bound.
	MaxNodes int `yaml:"max-nodes"`
	// BootTimeout is how long a node may take until it answers (5m; 30s for static).
	BootTimeout time.Duration `yaml:"boot-timeout"`
	// Labels of sandbox: made anew for each job, and deleted.
	Labels []Label `yaml:"labels"`
	// Hosts are kept: of sandbox, made at the start with their folders kept; of static, there already.
	Hosts []Host `yaml:"hosts"`
	// ReadOnly are further folders that sandbox nodes see.
	ReadOnly []string `yaml:"read-only"`
	// ExecutorZone: builds on its nodes are for the executors of that zone.
	ExecutorZone string `yaml:"executor-zone"`
	// Reach are TCP services of this machine that sandbox nodes can connect to ("127.0.0.1:3128"); of all
	// others that listen on it they see none.
	Reach []string `yaml:"reach"`
	// Environment is what every session on a sandbox node finds in its environment.
	Environment map[string]string `yaml:"environment"`
}

// Label is a kind of node.
type Label struct {
	Name string `yaml:"name"`
	// Max at one time; 0 is no bound. MinReady are kept ready before anybody asks.
	Max      int `yaml:"max"`
	MinReady int `yaml:"min-ready"`
	// MaxReadyAge is how long a ready node waits for somebody who asks before it is made anew (1h);
	// MaxAge bounds its life until then, from the moment when it was wished for.
	MaxReadyAge time.Duration `yaml:"max-ready-age"`
	MaxAge      time.Duration `yaml:"max-age"`
	// Features are in force before the first playbook; see Launcher.Features.
	Features []string `yaml:"features"`
	// OwnUser: on sandbox nodes, zuul is no other name of root.
	OwnUser bool `yaml:"own-user"`
}

// Host is a machine that is kept.
type Host struct {
	Name     string   `yaml:"name"`
	Labels   []string `yaml:"labels"`
	Slots    int      `yaml:"slots"`
	Features []string `yaml:"features"`
	// The rest is for static only. HostKeys are lines of ssh-keyscan without the host.
	Address string   `yaml:"address"`
	Port    int      `yaml:"port"`
	User    string   `yaml:"user"`
	Keys    []string `yaml:"host-keys"`
	Python  string   `yaml:"python"`
	Shell   string   `yaml:"shell"`
	// HangUp has what Ansible runs there end when its connection does.
	HangUp     bool   `yaml:"hang-up"`
	Connection string `yaml:"connection"`
}

// Launcher says how nodes are dealt out.
type Launcher struct {
	// Key is the file of the private SSH key with which nodes are reached; one is made where there is none.
	Key string `yaml:"key"`
	// MaxReadyAge is that of labels which say nothing (1h).
	MaxReadyAge time.Duration `yaml:"max-ready-age"`
	// Attempts is how many nodes of one request a provider may fail to make (3).
	Attempts int `yaml:"attempts"`
	// TenantNodes bounds the nodes of a tenant at one time.
	TenantNodes map[string]int `yaml:"tenant-nodes"`
	// Features that nodes can be given, by name; fips is built in.
	Features map[string]Feature `yaml:"features"`
}

// Feature is something that is in force on a node before the first playbook runs: a command that tells
// whether it is, one that brings it about, and one that restarts the node after that.
type Feature struct {
	Verify  string        `yaml:"verify"`
	Apply   string        `yaml:"apply"`
	Reboot  string        `yaml:"reboot"`
	Timeout time.Duration `yaml:"timeout"`
}

// Holds says how long nodes are kept for people (autohold).
type Holds struct {
	// Default is for requests that do not say; 0: until the request is deleted. Max bounds what they say.
	Default time.Duration `yaml:"default-expiration"`
	Max     time.Duration `yaml:"max-expiration"`
}

// ProviderDrivers that there are.
var ProviderDrivers = []string{"sandbox", "static"}

// staticBootTimeout is short: a host that is there answers.
const staticBootTimeout = 30 * time.Second

func (s *Settings) finishProviders(problem func(string, ...any)) {
	seen := map[string]bool{}
	for i := range s.Providers {
		p := &s.Providers[i]
		switch {
		case !name.MatchString(p.Name):
			problem("providers[%d].name: %q is no name (letters, digits, _ . -)", i, p.Name)
		case seen[p.Name]:
			problem("providers[%d].name: %q is there twice", i, p.Name)
		}
		seen[p.Name] = true
		if !slices.Contains(ProviderDrivers, p.Driver) {
			problem("providers[%d].driver: %q is none of %s", i, p.Driver, strings.Join(ProviderDrivers, ", "))
		}
		if p.Driver == "static" {
			s.finishStatic(i, p, problem)
		}
		for j, l := range p.Labels {
			if l.Name == "" {
				problem("providers[%d].labels[%d].name: it has none", i, j)
			}
			if l.Max > 0 && l.MinReady > l.Max {
				problem("providers[%d].labels[%d].min-ready: %d are to be kept ready of at most %d", i, j, l.MinReady, l.Max)
			}
			s.knownFeatures(l.Features, problem, "providers[%d].labels[%d]", i, j)
		}
		for j, h := range p.Hosts {
			if !name.MatchString(h.Name) {
				problem("providers[%d].hosts[%d].name: %q is no name", i, j, h.Name)
			}
			s.knownFeatures(h.Features, problem, "providers[%d].hosts[%d]", i, j)
		}
	}
	for n, f := range s.Launcher.Features {
		if f.Verify == "" {
			problem("launcher.features.%s.verify: say by which command one sees that it is in force", n)
		}
	}
}

func (s *Settings) finishStatic(i int, p *Provider, problem func(string, ...any)) {
	if p.BootTimeout == 0 {
		p.BootTimeout = staticBootTimeout
	}
	if len(p.Labels) > 0 {
		problem("providers[%d].labels: static hosts have their labels each (hosts: - {name: ..., labels: [...]})", i)
	}
	if len(p.Hosts) == 0 {
		problem("providers[%d].hosts: a static provider without hosts has no nodes", i)
	}
	for j, h := range p.Hosts {
		if h.Address == "" {
			problem("providers[%d].hosts[%d].address: a static host needs one", i, j)
		}
		if len(h.Labels) == 0 {
			problem("providers[%d].hosts[%d].labels: without one no job can ask for the host", i, j)
		}
		if len(h.Keys) == 0 {
			problem("providers[%d].hosts[%d].host-keys: pin at least one: compare what `ssh-keyscan %s` shows with the host's own, and leave the name out", i, j, h.Address)
		}
	}
}

func (s *Settings) knownFeatures(features []string, problem func(string, ...any), at string, args ...any) {
	for _, f := range features {
		if _, ok := s.Launcher.Features[f]; !ok && f != "fips" {
			problem(at+".features: there is no feature %q; describe it below launcher.features", append(args, f)...)
		}
	}
}
