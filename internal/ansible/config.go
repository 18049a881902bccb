package ansible

import (
	"fmt"
	"strings"
)

// Config is what an ansible.cfg says beside what is the same for all playbooks. Paths are as the
// playbook sees them.
type Config struct {
	Plugins string
	// Job is the job's directory; Roles are folders with roles, in search order.
	Job   string
	Roles []string
	// ControlDir holds the sockets of SSH connections; it must be short.
	ControlDir string
	KnownHosts string
	// HideArgs: the playbook has secrets, so arguments of tasks are not shown.
	HideArgs bool
	Forks    int
	// Restrict: SSH must not run local commands (untrusted playbooks).
	Restrict bool
	// Fact caching and gathering are the same for all playbooks of a job.
	FactCache string
	// StrictHostKeys: the node's keys are known, and another one is refused.
	StrictHostKeys bool
}

// Write is the file. See semantics 4.4.
func (c Config) Write() []byte {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("[defaults]")
	p("local_tmp = %s/.ansible/local_tmp", c.Job)
	p("retry_files_enabled = False")
	p("gathering = smart")
	p("fact_caching = jsonfile")
	p("fact_caching_connection = %s", c.FactCache)
	p("library = %s/library", c.Plugins)
	p("action_plugins = %s/action", c.Plugins)
	p("filter_plugins = %s/filter", c.Plugins)
	p("callback_plugins = %s/callback", c.Plugins)
	p("stdout_callback = gozer_stream")
	p("callbacks_enabled = gozer_json")
	p("bin_ansible_callbacks = True")
	p("nocows = True")
	p("forks = %d", max(c.Forks, 5))
	p("timeout = 30")
	p("internal_poll_interval = 0.01")
	p("inject_facts_as_vars = True")
	p("interpreter_python = auto_silent")
	p("deprecation_warnings = False")
	p("command_warnings = False")
	p("display_args_to_stdout = %s", pyBool(!c.HideArgs))
	p("host_key_checking = %s", pyBool(c.StrictHostKeys))
	if len(c.Roles) > 0 {
		p("roles_path = %s", strings.Join(c.Roles, ":"))
	} else {
		p("roles_path = %s/.ansible/no-roles", c.Job)
	}
	p("collections_path = %s/.ansible/collections", c.Job)
	p("\n[ssh_connection]")
	ssh := []string{"-o ControlMaster=auto", "-o ControlPersist=60s", "-o ServerAliveInterval=60",
		"-o UserKnownHostsFile=" + c.KnownHosts, "-o ForwardAgent=no"}
	if c.Restrict {
		ssh = append(ssh, "-o PermitLocalCommand=no")
	}
	p("ssh_args = %s", strings.Join(ssh, " "))
	p("control_path_dir = %s", c.ControlDir)
	p("pipelining = True")
	p("retries = 3")
	p("\n[callback_default]")
	p("display_skipped_hosts = False")
	return []byte(b.String())
}

func pyBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}
