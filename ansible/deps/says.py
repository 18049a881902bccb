"""What the program says, and what it notes while it reads: lines on standard output, problems, files."""

import functools
import json
import os
import re
import signal
import sys

# Whatever Ansible prints goes to standard error: standard output has our lines only.
OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
REQUEST = json.loads(sys.stdin.read())
ROOT = os.path.realpath(REQUEST["root"])
PROJECTS = [os.path.realpath(p) for p in REQUEST.get("projects") or []]


def emit(kind, **fields):
    print(json.dumps({"kind": kind, **fields}, default=str), file=OUT, flush=True)


def inside(path):
    """Whether a path is one of the checkout, or of another project that it names."""
    return any(str(path).startswith(root + os.sep) for root in (ROOT, *PROJECTS))


def relative(path):
    if not path:
        return ""
    path = str(path)
    return os.path.relpath(path, ROOT) if inside(path) else path


class Problems:
    """What could not be read while one playbook was; each is told once."""

    def __init__(self):
        self.seen = set()
        self.playbook = ""

    def add(self, text, file="", line=0, partial=True):
        """partial: what the problem hides is unknown, so that the job is not known whole."""
        text = " ".join(str(text).split())
        key = (self.playbook, text, file)
        if key not in self.seen:
            self.seen.add(key)
            emit("problem", playbook=self.playbook, text=text, file=relative(file), line=line, partial=partial)


PROBLEMS = Problems()


@functools.lru_cache(maxsize=None)
def real(path):
    return os.path.realpath(path)


class Reads:
    """The files that the content being read came from."""

    def __init__(self):
        self.files = {}

    def add(self, path, why):
        # As git knows it: what stands behind a link is what changes.
        path = relative(real(str(path)) if path else "")
        if path and not path.startswith(("/", "..")):
            self.files.setdefault(path, why)


    def below(self, path, why):
        """A file, or all files of a folder that is not the whole checkout."""
        if os.path.isfile(path):
            self.add(path, why)
        elif os.path.isdir(path) and path != ROOT and inside(path):
            for base, folders, names in os.walk(path):
                folders[:] = [f for f in folders if f != ".git"]
                for name in names[:200]:
                    self.add(os.path.join(base, name), why)


READS = Reads()


class Timeout(BaseException):
    """Not an Exception, as Ansible carries on after any of those."""


def limited(seconds, what, f, *args):
    """Runs f, and gives up after some seconds."""
    def ring(*_):
        raise Timeout(f"{what} took more than {seconds} s")
    old = signal.signal(signal.SIGALRM, ring)
    signal.alarm(int(seconds))
    try:
        return f(*args)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def first_line(e):
    """What an error says, in one line."""
    text = str(getattr(e, "message", "") or e).strip()
    if not text:
        return type(e).__name__
    if "maximum recursion depth" in text:
        return "it uses itself"
    lines = text.splitlines()
    # For YAML it begins with the formats that were tried; what is wrong stands where it tells of YAML.
    for n, line in enumerate(lines):
        if "Syntax Error while loading YAML" in line:
            more = [m.strip() for m in lines[n + 1:] if m.strip()]
            return "Syntax Error while loading YAML" + (f": {more[0]}" if more else "")
    if lines[0].startswith("Unable to retrieve file contents") and len(lines) > 1:
        named = re.search(r"'([^']+)'", lines[1])
        return f"the file {relative(named[1])} is not there" if named else lines[1]
    if lines[0].startswith("An unhandled exception occurred") and "original message: " in lines[0]:
        return lines[0].rsplit("original message: ", 1)[1].rstrip(". ")
    missing = re.search(r'Could not load "([\w.]+)"', text)
    if missing:
        return f"{missing[1]} is not installed"
    if lines[0].startswith("template error while templating string: "):
        return lines[0].removeprefix("template error while templating string: ").split(". String: ")[0]
    # Ansible says the same again for each level that it went through, the text of the template before it.
    parts = lines[0].rstrip(". ").split(". ")
    parts = [p for i, p in enumerate(parts) if not any(q != p and p.endswith(": " + q) for q in parts[i + 1:])]
    return ". ".join(dict.fromkeys(parts))
