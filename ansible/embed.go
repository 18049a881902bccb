// Package ansible holds the Python that runs inside Ansible: callbacks that turn a playbook run into
// events, the modules and actions that jobs know from Zuul (zuul_return, zuul_console, a command that
// streams its output), and the warm fork server. It is carried in the binary and laid out on disk by
// internal/ansible; nothing of it needs to be installed.
package ansible

import "embed"

// Files is the tree as it is laid out for Ansible.
//
//go:embed action callback filter lib library warm
var Files embed.FS
