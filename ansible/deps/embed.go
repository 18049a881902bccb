// Package deps holds the Python that reads Ansible content for gozer deps: one program, which loads
// playbooks with Ansible's own loader, inventory, variable manager and templar, and answers in JSON
// lines. It runs beside Ansible, never inside a playbook.
package deps

import _ "embed"

// Reader is the program. It is run by the Python of an Ansible environment, with the folder of the
// repository as the working directory; what it takes and gives is said at its top.
//
//go:embed reader.py
var Reader []byte
