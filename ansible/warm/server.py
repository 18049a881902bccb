# SPDX-License-Identifier: Apache-2.0
"""A Python that has Ansible loaded and forks for each playbook.

Usage: server.py SOCKET. A client connects, and sends one JSON line with the descriptors for output and
events. The request is read by the forked child alone: this process never holds anything of a job, so a
fork has nothing of other jobs in its memory. The child goes into the name spaces of the sandbox that the
client has made for the playbook, gives up every privilege, and then is ansible-playbook. The client gets
one JSON line with the exit code. When standard input ends, the client is gone, and so is this process.
"""

import array
import ctypes
import fcntl
import gc
import json
import os
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import warnings

libc = ctypes.CDLL(None, use_errno=True)

CLONE = {"user": 0x10000000, "cgroup": 0x02000000, "ipc": 0x08000000, "uts": 0x04000000,
         "pid": 0x20000000, "mnt": 0x00020000}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
CAPABILITY_VERSION_3 = 0x20080522
NS_GET_USERNS = 0xB701

PLUGINS = {
    "strategy_loader": ["linear", "free"],
    "connection_loader": ["ssh", "local"],
    "shell_loader": ["sh"],
    "become_loader": ["sudo"],
    "cache_loader": ["jsonfile", "memory"],
    "callback_loader": ["gozer_stream", "gozer_json"],
    "inventory_loader": ["yaml", "ini", "host_list", "script", "auto", "advanced_host_list", "toml"],
    "action_loader": ["normal", "command", "shell", "debug", "copy", "template", "set_fact", "include_vars",
                      "gather_facts", "assert", "fail", "zuul_return", "gozer_freeze", "package", "service", "script"],
    "lookup_loader": ["file", "env", "items", "template"],
}


MODULES = ["command", "setup", "stat", "copy", "file"]
packed = {}


def call(name, *args):
    if getattr(libc, name)(*args) != 0:
        e = ctypes.get_errno()
        raise OSError(e, "%s: %s" % (name, os.strerror(e)))


def load():
    """Import and look up once what every playbook needs."""
    import ansible.cli.playbook  # noqa: F401
    import ansible.executor.playbook_executor  # noqa: F401
    import ansible.modules.command  # noqa: F401
    import ansible.playbook.handler_task_include  # noqa: F401
    import multiprocessing.popen_fork  # noqa: F401
    from ansible.plugins import loader
    for name, plugins in PLUGINS.items():
        found = getattr(loader, name)
        for plugin in plugins:
            try:
                found.get(plugin, class_only=True)
            except Exception:
                pass  # one that this version lacks is loaded, or missed, by who wants it
    for found in (loader.filter_loader, loader.test_loader):
        list(found.all())
    # Each playbook asks all of these what options they have.
    for found in (loader.callback_loader, loader.connection_loader, loader.become_loader, loader.shell_loader,
                  loader.vars_loader):
        list(found.all(class_only=True))
    loader.init_plugin_loader()
    # Every ansible-playbook sets the finder up; in a fork it is there already, as it has to be.
    warnings.filterwarnings("ignore", message="AnsibleCollectionFinder has already been configured")
    from ansible.utils.collection_loader._collection_finder import _get_collection_metadata
    _get_collection_metadata("ansible.builtin")
    pack()


def pack():
    """Pack the modules that nearly every playbook uses, as Ansible would for each of them again."""
    from ansible import constants
    from ansible.executor import module_common
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import module_loader
    from ansible.template import Templar
    variables = {"ansible_python_interpreter": "/usr/bin/python3"}
    compression = constants.config.get_config_value("DEFAULT_MODULE_COMPRESSION")
    for name in MODULES:
        try:
            found = module_loader.find_plugin_with_context("ansible.legacy." + name)
            module_common.modify_module("ansible.legacy." + name, found.plugin_resolved_path, {},
                                        Templar(DataLoader(), variables=variables), variables, compression)
        except Exception:
            continue  # it is packed when it is needed
    folder = os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        with open(os.path.join(folder, name), "rb") as f:
            packed[name] = f.read()
    shutil.rmtree(constants.DEFAULT_LOCAL_TMP, ignore_errors=True)


def unpack(folder):
    """Put the packed modules where Ansible looks for what it has packed before."""
    os.mkdir(folder, 0o700)
    for name, data in packed.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)


def drop():
    """Give up all capabilities for good."""
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for cap in range(64):
        if libc.prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0:
            break

    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    data = (ctypes.c_uint32 * 6)()
    call("capset", ctypes.byref(Header(CAPABILITY_VERSION_3, 0)), data)
    # Who changes its credentials cannot be looked into, not even by who judges its connections; there is
    # nothing in this process yet that others of its sandbox may not see.
    call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)


def enter(request):
    """Go where the playbook may be: control groups and limits first, then the sandbox's name spaces."""
    for path in request["groups"]:
        with open(path, "w") as f:
            f.write("0")
    with open("/proc/self/oom_score_adj", "w") as f:
        f.write("500")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, limit in (("files", resource.RLIMIT_NOFILE), ("file_size", resource.RLIMIT_FSIZE),
                        ("processes", resource.RLIMIT_NPROC), ("memory", resource.RLIMIT_DATA)):
        if request.get(name):
            resource.setrlimit(limit, (request[name], request[name]))
    base = "/proc/%d/" % request["pid"]
    root = os.open(base + "root", os.O_RDONLY | os.O_DIRECTORY)
    spaces = {}
    for name in CLONE:
        if os.readlink(base + "ns/" + name) != os.readlink("/proc/self/ns/" + name):
            spaces[name] = os.open(base + "ns/" + name, os.O_RDONLY)
    missing = {"user", "pid", "mnt"} - set(spaces)
    if missing:
        raise OSError("the sandbox has no name space of its own for %s" % ", ".join(sorted(missing)))
    # The sandbox's user name space may lie in the one that owns the others: through that to all of them,
    # and into the inner one last.
    inner, owner = spaces.pop("user"), fcntl.ioctl(spaces["mnt"], NS_GET_USERNS)
    call("setns", owner, CLONE["user"])
    for name, fd in spaces.items():
        call("setns", fd, CLONE[name])
    os.fchdir(root)
    os.chroot(".")
    if os.fstat(inner).st_ino != os.fstat(owner).st_ino:
        call("setns", inner, CLONE["user"])


def receive(connection):
    """Read the request and its descriptors."""
    data, fds = b"", array.array("i")
    while not data.endswith(b"\n"):
        part, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_LEN(16 * fds.itemsize))
        if not part:
            raise OSError("the client went away")
        data += part
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return json.loads(data), list(fds)


def become(request, fds):
    """Be ansible-playbook; this is the first process that runs what a job wrote."""
    drop()
    null = os.open("/dev/null", os.O_RDONLY)
    for i, fd in enumerate(fds):
        os.dup2(fd, 100 + i)
    os.dup2(null, 0)
    os.dup2(100, 1)
    os.dup2(100, 2)
    for i in range(1, len(fds)):
        os.dup2(100 + i, 2 + i)
    os.closerange(2 + max(1, len(fds)), 4096)
    os.setsid()
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(s, signal.SIG_DFL if s != signal.SIGPIPE else signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(dict(kv.split("=", 1) for kv in request["env"]))
    os.chdir(request["dir"])
    sys.argv = request["args"]
    from ansible import constants
    from ansible.cli.playbook import PlaybookCLI
    # The one setting that makes a folder when it is read, which was long ago and somewhere else.
    constants.DEFAULT_LOCAL_TMP = tempfile.mkdtemp(prefix="ansible-local-", dir=request["tmp"])
    if request["packed"]:
        unpack(os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache"))
    PlaybookCLI.cli_executor(request["args"])


def child(connection):
    """Run one request in a process of its own, and answer with its exit code."""
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    code, problem = 250, ""
    try:
        request, fds = receive(connection)
        enter(request)
        # Only children of who joined a process name space are in it.
        pid = os.fork()
        if pid == 0:
            connection.close()
            leave(lambda: become(request, fds))
        for fd in fds:
            os.close(fd)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
    except (OSError, ValueError, KeyError) as e:
        problem = str(e)
    try:
        connection.sendall(json.dumps({"code": code, "problem": problem}).encode() + b"\n")
    except OSError:
        pass  # nobody waits any more


def leave(run):
    """Run and exit as a program does, whatever happens."""
    code = 0
    try:
        run()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    except BaseException:
        import traceback
        traceback.print_exc()
        code = 250
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            pass
        os._exit(code)


def main():
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    load()
    gc.collect()
    gc.freeze()
    listener.bind(sys.argv[1])
    listener.listen(128)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.write(1, b"ready\n")
    while True:
        readable, _, _ = select.select([listener, 0], [], [])
        if 0 in readable and not os.read(0, 1):
            return
        if listener not in readable:
            continue
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            leave(lambda: child(connection))
        connection.close()


if __name__ == "__main__":
    main()
