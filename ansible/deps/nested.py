"""Finds the playbooks that commands and scripts run in turn, as a job does that runs one on a bastion."""

import os
import re
import shlex

from ansible import constants as C

from render import GAP
from says import REQUEST, ROOT
from scripts import made, scripted

# Options of ansible-playbook that take a value; those that say what is run are kept.
TAKES = {"-i", "--inventory", "-e", "--extra-vars", "-l", "--limit", "-t", "--tags", "--skip-tags", "-f", "--forks", "-u", "--user", "-c", "--connection",
         "-M", "--module-path", "-T", "--timeout", "--start-at-task", "--vault-id", "--vault-password-file", "--private-key", "--key-file",
         "--ssh-common-args", "--ssh-extra-args", "--become-method", "--become-user"}
KEPT = {"-l": "limit", "--limit": "limit", "-t": "tags", "--tags": "tags", "--skip-tags": "skip_tags", "-e": "vars", "--extra-vars": "vars",
        "-i": "inventory", "--inventory": "inventory"}
PLAYS = re.compile(r"^(- |  )(hosts|import_playbook|ansible\.builtin\.import_playbook):", re.M)


def is_bastion(name):
    return "bastion" in name or name.startswith("bridge")


def runs(rendered, args, request, hosts):
    """Requests for the playbooks that a command names, with its limits, tags and variables."""
    text = args.get("_raw_params") or args.get("cmd") or args.get("argv") or ""
    if isinstance(text, dict):
        text = (text.get("partial") or "").replace(GAP, "")
    words = [str(w.get("partial", "").replace(GAP, "") if isinstance(w, dict) else w) for w in text] if isinstance(text, list) else split(str(text))
    folder = args.get("chdir") if isinstance(args.get("chdir"), str) else ""
    words, text = called(words, text, folder)
    out = []
    for at, word in enumerate(words):
        if os.path.basename(word) != "ansible-playbook":
            continue
        books, options = parse(words[at + 1:])
        if options.pop("check", False):
            continue
        for book in books:
            path = in_repository(book, folder)
            if path and hosts:
                controller = rendered.get("delegate_to") if isinstance(rendered.get("delegate_to"), str) else hosts[0].name
                where = {} if controller in ("localhost", "127.0.0.1") else {"inner": True, "controller": controller}
                if not where:
                    where = {"inner": bool(request.get("inner")), "controller": request.get("controller", "")}
                sources = [s for s in (in_repository(i, folder, any_file=True) for i in options.get("inventory", [])) if s]
                if not sources and request.get("inventory"):
                    sources = request["inventory"]
                where |= {"aimed": True} if request.get("aimed") or aimed(sources, args, text) else {}
                out.append({"id": request["id"], "path": path, **where, **options, "inventory": sources})
    return out


def aimed(sources, args, text):
    """Whether a call says that it works on the hosts of the repository's inventory, wherever it is made from: it names
    one, or is made in the checkout, whose configuration does. Tests have an inventory of their own."""
    if sources:
        return not any(re.match(r"tests?$|molecule$", part) for s in sources for part in s.split("/"))
    there = args.get("chdir") or re.search(r"\bcd\s", str(text))
    return bool(there and REQUEST.get("config") and C.DEFAULT_HOST_LIST != ["/etc/ansible/hosts"])


def called(words, text, folder):
    """Where a command is a script or a target of make of the repository that runs playbooks, the words of that."""
    if any(os.path.basename(w) == "ansible-playbook" for w in words):
        return words, text
    out, parts = [], [[]]
    for word in words:
        if word in (";", "&&", "||", "|"):
            parts.append([])
        else:
            parts[-1].append(word)
    for part in parts:
        while part and BEFORE.match(os.path.basename(part[0])):
            part.pop(0)
        if len(part) > 1 and part[0] == "cd":
            folder = os.path.join(folder, part[1])
        elif part and part[0] == "make":
            below = next((part[n + 1] for n, w in enumerate(part[:-1]) if w == "-C"), "")
            out.append(made(in_repository(os.path.join(below, "Makefile"), folder, any_file=True), part[1:]))
        elif part and "/" in part[0]:
            out.append(scripted(in_repository(part[0], folder, any_file=True), part[1:]))
    found = "\n".join(filter(None, out))
    return (split(found), found) if found else (words, text)


# What goes before the program that a command runs.
BEFORE = re.compile(r"(?:bash|sh|env|sudo|exec|nice|time|-[a-zA-Z]+|[A-Za-z_]\w*=.*)$")


def split(text):
    try:
        return shlex.split(text.replace("\n", " ; "))
    except ValueError:
        return text.split()


def parse(words):
    """The playbooks and the options of one call, up to where the shell goes on."""
    books, options, todo = [], {}, list(words)
    while todo:
        word = todo.pop(0)
        if re.match(r"^\d?[<>|&;]", word) or word in ("then", "fi"):
            break
        name, _, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if name in TAKES:
            value = value or (todo.pop(0) if todo else "")
            keep(options, KEPT.get(name), value)
        elif name in ("-C", "--check", "--syntax-check", "--list-tasks", "--list-hosts"):
            options["check"] = True
        elif not word.startswith("-") and word.rstrip(";").endswith((".yaml", ".yml")):
            books.append(word.rstrip(";"))
        if word.endswith(";"):
            break
    return books, options


def keep(options, name, value):
    if name == "vars":
        key, eq, text = value.partition("=")
        if eq and key.isidentifier():
            options.setdefault("vars", {})[key] = text
    elif name == "limit":
        options[name] = value
    elif name:
        options.setdefault(name, []).extend(value.split(","))


def in_repository(path, folder, any_file=False):
    """The playbook, or any file or folder, that a path on another host stands for: its longest end that is one here."""
    for whole in (path, os.path.join(folder, path)):
        parts = os.path.normpath(whole).lstrip("/").split("/")
        for n in range(len(parts)):
            end = "/".join(parts[n:])
            found = os.path.join(ROOT, end)
            if (len(parts) - n > 1 or len(parts) == 1 or n == 0) and (os.path.exists(found) if any_file else os.path.isfile(found) and is_playbook(found)):
                return end
    return ""


def is_playbook(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return bool(PLAYS.search(f.read(1 << 20)))
