"""Reads Ansible content and tells, in JSON lines, what its tasks would do.

Standard input: one JSON object,

    {"root": "/checkout", "config": "ansible.cfg", "inventory": ["inventory/hosts.yaml"],
     "hosts": {"bridge": ["group"]}, "plugins": {"playbooks/filter_plugins": "filter"},
     "variables": ["group_vars/all.yaml"], "inventory_seconds": 20, "seconds": 60,
     "bastion": "bridge01", "projects": ["/roles-of-others"], "role_folders": ["/roles-of-others/roles"], "roles": {"name": "/a-role"},
     "playbooks": [{"id": "job-a", "path": "playbooks/a.yaml", "vars": {}, "nodes": ["bridge"], "outer": true},
                   {"id": "job-a", "path": "playbooks/service.yaml", "inner": true, "named": true}]}

An outer playbook only runs others on a bastion; an inner one is run there. Playbooks that a command is seen to
run are read by themselves, with the inventory, the limits, tags and variables that it names; named ones only
where none was seen to run them.

Standard output, one object a line, each with a "kind":

    reading     what is being read, for whoever waits
    inventory   hosts with their groups; keys of the files of variables; which of "hosts" it did not have; the
                bastion
    hosts       those of inventories that only a command names, and those that add_host adds by their address
    play        the pattern of hosts of a play, and the hosts that it selects
    task        one task with rendered arguments, for the hosts for which they are the same; what the
                files say that it lays down
    playbook    the end of one playbook, with the files that it read and the variables that it used
    missing     a module that is not installed
    problem     something that could not be read, and why; the rest goes on
    end         the last line

Nothing is run on any host. Lookups that would run something, ask the network or read outside of the
repository are not made; what depends on them, on facts or on results of tasks is unknown, with the
reason: {"unknown": "why", "raw": "{{ text }}"}. Tasks whose conditions are false by what is written, that
are tagged never, and handlers that nothing notifies are left out; "guarded" says that a condition needs
a run to be decided.
"""

import os
import sys
import traceback

from says import PROBLEMS, REQUEST, ROOT, emit, first_line

NEWEST = (2, 20)

os.chdir(ROOT)
# Where the checkout has none, that of whoever reads it must not count.
EMPTY = os.path.join(os.environ["ANSIBLE_HOME"], "ansible.cfg")
os.makedirs(os.environ["ANSIBLE_HOME"], exist_ok=True)
with open(EMPTY, "w"):
    pass
os.environ["ANSIBLE_CONFIG"] = os.path.join(ROOT, REQUEST["config"]) if REQUEST.get("config") else EMPTY
os.environ.update(ANSIBLE_NOCOLOR="1", ANSIBLE_DEPRECATION_WARNINGS="0", ANSIBLE_LOCALHOST_WARNING="0",
                  ANSIBLE_FORCE_COLOR="0", ANSIBLE_INVENTORY_UNPARSED_WARNING="0", ANSIBLE_LOG_PATH=os.devnull,
                  ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS="ignore")

from ansible import context
from ansible.module_utils.common.collections import ImmutableDict
from ansible.plugins.loader import init_plugin_loader
from ansible.release import __version__

if tuple(int(p) for p in __version__.split(".")[:2]) > NEWEST:
    emit("problem", playbook="", text=f"ansible-core {__version__} is newer than this can read with: {'.'.join(map(str, NEWEST))} is the newest", fatal=True)
    sys.exit(3)

context.CLIARGS = ImmutableDict(
    syntax=True, check=False, diff=False, verbosity=0, start_at_task=None, tags=("all",), skip_tags=(),
    connection="ssh", become=False, become_method="sudo", become_user=None, remote_user=None, forks=1,
    private_key_file=None, timeout=10, subset=None, basedir=ROOT,
)
init_plugin_loader()

from lenient import add_plugins
from book import Reader


def main():
    add_plugins()
    reader = Reader()
    reader.tell_inventory()

    def read(request):
        try:
            reader.read(request)
        except Exception as e:  # one playbook must not take the others along
            print(traceback.format_exc(), file=sys.stderr)
            PROBLEMS.add(f"reading stopped: {type(e).__name__}: {first_line(e)}")
            emit("playbook", id=request["id"], path=request["path"], reads={}, uses=[], external=[], ok=False, **reader.whose())

    reader.read_all(REQUEST.get("playbooks") or [], read)
    reader.tell_others()
    emit("end")


if __name__ == "__main__":
    main()
