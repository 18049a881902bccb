"""Reads scripts of a repository, and targets of its Makefile, that run playbooks: their commands with the words that they
were given, as far as that goes without running them."""

import fnmatch
import os
import re

from says import PROBLEMS, READS, ROOT

LONGEST = 1 << 16
CALL = re.compile(r"(?:^|[\s;&|(@])(?:\S*/)?ansible-playbook\s")
WORD = re.compile(r"\$(?:(\d|[A-Za-z_]\w*|[@*])|\{(\w+|[@*])(?:(:?[-+])((?:[^{}]|\{[^}]*\})*))?\})")
SETS = re.compile(r"""(?m)^\s*(?:local\s+|readonly\s+|export\s+)?([A-Za-z_]\w*)=("[^"\n]*"|'[^'\n]*'|[^\s;&|()"']*)\s*$""")
CASE = re.compile(r"(?ms)^\s*case\s+(\S+)\s+in\b(.*?)^\s*esac\b")
BRANCH = re.compile(r"(?s)\s*\(?([^()\n]+)\)(.*?)(?:;;|\Z)")
LOOP = re.compile(r"(?ms)^\s*for\s+(\w+)\s+in\s+([^;\n]*?)\s*(?:;|\n)\s*do\b(.*?)\bdone\b")


def scripted(path, given):
    """What a shell script runs that is given some words; nothing where it runs no playbook."""
    text = content(path)
    if not text.startswith("#!") or not re.search(r"\b(?:ba|da|k|z)?sh\b", text.partition("\n")[0]) or not CALL.search(text):
        return ""
    READS.add(os.path.join(ROOT, path), "script")
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    text = CASE.sub(chosen, expanded(text, given))
    text = LOOP.sub(lambda m: "\n".join(re.sub(r"\$\{?" + m[1] + r"\b\}?", lambda _: word, m[3]) for word in m[2].replace('"', "").split()), text)
    if undecided(text) > 1:
        PROBLEMS.add(f"which playbook {path} runs is decided while it runs", os.path.join(ROOT, path))
        return ""
    return text


def content(path):
    whole = os.path.join(ROOT, path)
    if not path or not os.path.isfile(whole) or os.path.getsize(whole) > LONGEST:
        return ""
    with open(whole, encoding="utf-8", errors="replace") as f:
        return f.read().replace("\\\n", " ")


def expanded(text, given):
    """A script with the words that it was given in the places of $1 and of variables that it sets once; no others."""
    known = {str(n + 1): word for n, word in enumerate(given)} | {"@": " ".join(given), "*": " ".join(given)}

    def value(match):
        name, sign, other = match[1] or match[2], match[3] or "", match[4] or ""
        if "+" in sign:
            return WORD.sub(value, other) if known.get(name) else ""
        if name in known or name.isdigit() or sign:
            return known.get(name) or WORD.sub(value, other)
        return match[0]

    sets = SETS.findall(text)
    for name, said in sets:
        if [n for n, _ in sets].count(name) == 1:
            known[name] = WORD.sub(value, said.strip("\"'"))
    return WORD.sub(value, text)


def chosen(match):
    """The branch of a case that a word chooses; all of it where the word is not known."""
    word = match[1].strip("\"'")
    if "$" in word:
        return match[0]
    for patterns, body in BRANCH.findall(match[2]):
        if any(fnmatch.fnmatchcase(word, p.strip().strip("\"'")) for p in patterns.split("|")):
            return body
    return ""


def undecided(text):
    """How many calls stand where a condition decides between them."""
    depth = found = 0
    for line in text.splitlines():
        depth += len(re.findall(r"(?:^|;|&&|\|\|)\s*(?:if|case)\s", line))
        found += bool(depth > 0 and CALL.search(line))
        depth -= len(re.findall(r"(?:^|[\s;])(?:fi|esac)(?=$|[\s;])", line))
    return found


def made(path, given):
    """The recipes of the targets that make is given, with its variables."""
    text = content(path)
    known = dict(w.split("=", 1) for w in given if re.match(r"[A-Za-z_]\w*=", w))
    for name, value in re.findall(r"(?m)^([A-Za-z_]\w*)\s*[:?]?=\s*(.*?)\s*$", text):
        known.setdefault(name, value)
    out = []
    for target in (w for w in given if re.fullmatch(r"[A-Za-z0-9_][\w./-]*", w)):
        for rule, recipe in re.findall(r"(?m)^([\w./%-]+)\s*:(?!=)[^\n]*\n((?:\t[^\n]*\n?)+)", text):
            if "%" in rule and not fnmatch.fnmatchcase(target, rule.replace("%", "?*")) or "%" not in rule and rule != target:
                continue
            head, _, tail = rule.partition("%")
            stem = target[len(head):len(target) - len(tail)] if "%" in rule else ""
            recipe = recipe.replace("$@", target).replace("$*", stem)
            for _ in range(3):
                recipe = re.sub(r"\$[({](\w+)[)}]", lambda m: known.get(m[1], m[0]), recipe)
            out.append(re.sub(r"(?m)^\t[@-]*", "", recipe))
            break
    if not CALL.search("\n".join(out)):
        return ""
    READS.add(os.path.join(ROOT, path), "Makefile")
    return "\n".join(out)
