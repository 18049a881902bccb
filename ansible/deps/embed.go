// Package deps holds the Python that reads Ansible content for gozer deps: one program, which loads
// playbooks with Ansible's own loader, inventory, variable manager and templar, and answers in JSON
// lines. It runs beside Ansible, never inside a playbook.
package deps

import "embed"

// Program is the files of the program. Entry, the one to start, is run by the Python of an Ansible
// environment; what it takes and gives is said at its top.
//
//go:embed *.py
var Program embed.FS

// Entry is the file of Program to start.
const Entry = "reader.py"
