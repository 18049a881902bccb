"""What the program says, and what it notes while it reads: lines on standard output, problems, files."""

import json
import os
import signal
import sys

# Whatever Ansible prints goes to standard error: standard output has our lines only.
OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
REQUEST = json.loads(sys.stdin.read())
ROOT = os.path.realpath(REQUEST["root"])


def emit(kind, **fields):
    print(json.dumps({"kind": kind, **fields}, default=str), file=OUT, flush=True)


def relative(path):
    if not path:
        return ""
    path = str(path)
    return os.path.relpath(path, ROOT) if path.startswith(ROOT + os.sep) else path


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


class Reads:
    """The files that the content being read came from."""

    def __init__(self):
        self.files = {}

    def add(self, path, why):
        path = relative(path)
        if path and not path.startswith(("/", "..")):
            self.files.setdefault(path, why)


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
    text = str(getattr(e, "message", "") or e).strip()
    if not text:
        return type(e).__name__
    # For YAML it begins with the formats that were tried; what is wrong stands where it tells of YAML.
    for line in text.splitlines():
        if line.startswith("Syntax Error while loading YAML"):
            more = text.split(line, 1)[1].strip().splitlines()
            return line.rstrip(".") + (f": {more[0].strip()}" if more else "")
    # Ansible says the same again for each level that it went through, the text of the template before it.
    parts = text.splitlines()[0].rstrip(". ").split(". ")
    parts = [p for i, p in enumerate(parts) if not any(q != p and p.endswith(": " + q) for q in parts[i + 1:])]
    return ". ".join(dict.fromkeys(parts))
