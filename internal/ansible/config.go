package ansible

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// The paths at which every playbook finds its own things inside its sandbox. They are the same for all,
// so that one configuration, read once by a warm process, holds for all; they are links to where a job's
// things really are.
const (
	JobLink   = "/run/gozer/job"
	RolesLink = "/run/gozer/roles"
	// MaxRoles is how many folders of roles a playbook can have.
	MaxRoles = 64
)

// RoleLink is the link to the i-th folder of roles.
func RoleLink(i int) string { return filepath.Join(RolesLink, fmt.Sprint(i)) }

// Config is what ansible.cfg says for all playbooks.
type Config struct {
	Plugins string
	// ControlDir holds the sockets of SSH connections; it must be short.
	ControlDir string
	// Callbacks are further callback plugins, by name with their options, and CallbackDir where they are, if they
	// are not Ansible's.
	Callbacks   map[string]map[string]string
	CallbackDir string
}

// Write is the file. See semantics 4.4.
func (c Config) Write() []byte {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("[defaults]")
	p("home = %s/.ansible", JobLink)
	p("local_tmp = %s/.ansible/local_tmp", JobLink)
	p("retry_files_enabled = False")
	p("gathering = smart")
	p("fact_caching = jsonfile")
	p("fact_caching_connection = %s/.ansible/fact-cache", JobLink)
	p("library = %s/library", c.Plugins)
	p("action_plugins = %s/action", c.Plugins)
	p("filter_plugins = %s/filter", c.Plugins)
	plugins, enabled := c.Plugins+"/callback", "gozer_json,gozer_observe"
	if c.CallbackDir != "" {
		plugins += ":" + c.CallbackDir
	}
	names := slices.Sorted(maps.Keys(c.Callbacks))
	for _, name := range names {
		enabled += "," + name
	}
	p("callback_plugins = %s", plugins)
	p("stdout_callback = gozer_stream")
	p("callbacks_enabled = %s", enabled)
	p("nocows = True")
	p("timeout = 30")
	p("internal_poll_interval = 0.01")
	p("inject_facts_as_vars = True")
	p("interpreter_python = auto_silent")
	p("deprecation_warnings = False")
	p("display_args_to_stdout = False")
	p("host_key_checking = True")
	roles := make([]string, MaxRoles)
	for i := range roles {
		roles[i] = RoleLink(i)
	}
	p("roles_path = %s", strings.Join(roles, ":"))
	p("collections_path = %s/.ansible/collections", JobLink)
	p("\n[ssh_connection]")
	p("ssh_args = -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=60 -o ForwardAgent=no -o PermitLocalCommand=no"+
		" -o UserKnownHostsFile=%s/work/.ssh/known_hosts", JobLink)
	p("control_path_dir = %s", c.ControlDir)
	p("pipelining = True")
	p("retries = 3")
	for _, name := range names {
		p("\n[callback_%s]", name)
		for _, k := range slices.Sorted(maps.Keys(c.Callbacks[name])) {
			p("%s = %s", k, strings.ReplaceAll(c.Callbacks[name][k], "\n", " "))
		}
	}
	return []byte(b.String())
}
