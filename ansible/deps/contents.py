"""What a file says that a task lays on a host: the paths that it names, what it serves, what a compose
file mounts. Kubernetes manifests and recipes for images name paths in containers: nothing is taken from them."""

import hashlib
import os
import re

import yaml

PATH = re.compile(r"(?<![\w.:/@%$}~*+-])/(?:[A-Za-z0-9_.@+-]+/)+[A-Za-z0-9_.@+-]*[A-Za-z0-9_/-]")
COMPOSE = re.compile(r"(^|/)(docker-)?compose[\w.-]*\.ya?ml$")
IMAGE = re.compile(r"(^|/)(Dockerfile|Containerfile)[\w.-]*$")
LISTEN = [re.compile(p, re.M | re.I) for p in (
    r"^\s*listen\s+(?:\[?[\w.:*]*\]?:)?(\d{2,5})\b", r"<VirtualHost\s+[^>]*?:(\d{2,5})\s*>",
    r"^\s*bind\s+\S*?:(\d{2,5})\b")]
SERVER = re.compile(r"^\s*(?:server_?name|serveralias)\s+([^;\n#]+)", re.M | re.I)
SERVING = re.compile(r"/(apache2?|httpd|nginx|haproxy|caddy|sites-(available|enabled)|vhosts?(\.d)?)(/|\.)")
DATABASE = re.compile(r"\b(?:postgres(?:ql)?|mysql|mariadb)(?:\+\w+)?://(?:[^/@\s\"']*@)?([\w.-]+)(?::\d+)?/([\w-]+)")
PORTLESS = re.compile(r"\b(postgres(?:ql)?|mysql|mariadb)(?:\+\w+)?://(?:[^/@\s\"']*@)?([A-Za-z][\w.-]*)/[\w-]")
URL = re.compile(r"\bhttps?://[A-Za-z0-9.-]+(?::\d+)?")
# Ports of databases, caches, queues and directories, as clients of them are configured.
STORE = re.compile(r"(?:(?<=://)|(?<=@)|(?<![\w./@-]))([A-Za-z][\w-]*(?:\.[\w-]+)*):(5432|3306|6379|11211|2181|2281|2379|5672|9200|27017|389|636|8200|8500|9092|4222)\b")
APART = re.compile(r"^\s*-?\s*\{?\s*(?:host|hostname|server)\s*[:=]\s*[\"']?([A-Za-z][\w.-]+)[\"']?\s*,\s*port\s*[:=]\s*[\"']?(\d+)", re.M)
PORTS = set(re.findall(r"\d{3,}", STORE.pattern))
SOCKET = re.compile(r"^\s*(?:stats socket|listen|bind|socket|unix_socket|unixsocket)\s*[= ]\s*(?:unix:)?(/[\w./-]+\.sock(?:et)?)\b", re.M)
# What a web server hands out or writes is not needed for its start.
SERVED = re.compile(r"^\s*<?(?:DocumentRoot|Directory|Alias|ScriptAlias|CustomLog|ErrorLog|TransferLog|root|alias|access_log|error_log|log_file|logfile|pid|pidfile)\b", re.I)
LIMIT = 300


def study(dest, text, raw=""):
    """What content says; raw is the template that it was made from, for line numbers."""
    out = {"dest": dest, "hash": hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]}
    named = {m[n]: m.start() for p, n in ((DATABASE, 1), (STORE, 1), (APART, 1), (URL, 0)) for m in list(p.finditer(text))[::-1][-LIMIT:]}
    if named:
        out["lines"] = {name: written(text, at, (raw or text).splitlines()) for name, at in named.items()}
    databases = sorted(set(DATABASE.findall(text)))
    if databases:
        out["databases"] = databases
    stores = sorted(set(STORE.findall(text)) | {(h, "5432" if kind.startswith("p") else "3306") for kind, h in PORTLESS.findall(text)} | {(h, p) for h, p in APART.findall(text) if p in PORTS})[:LIMIT]
    if stores:
        out["stores"] = stores
    sockets = sorted(set(SOCKET.findall(text)))
    if sockets:
        out["sockets"] = sockets
    urls = sorted({u for u in URL.findall(text) if not re.match(r"https?://(localhost|127\.)", u)})[:LIMIT]
    if urls:
        out["urls"] = urls
    if IMAGE.search(dest) or is_manifest(text):
        out["foreign"] = True
        return out
    if COMPOSE.search(dest):
        out["compose"] = compose(text)
        return out
    if dest == "/etc/hosts":
        out["names"] = sorted({n for l in text.splitlines() for n in l.split("#")[0].split()[1:]})
        return out
    lines = (raw or text).splitlines()
    paths = {}
    for match in PATH.finditer(text):
        path = match[0]
        if path not in paths and len(paths) < LIMIT and not commented(text, match.start()) and not served(text, match.start()):
            paths[path] = line_of(path, lines)
    if paths:
        out["paths"] = paths
    if SERVING.search(dest):
        ports = sorted({m for p in LISTEN for m in p.findall(text)})
        names = sorted({n for m in SERVER.findall(text) for n in m.split() if "." in n and "*" not in n})
        if ports:
            out["ports"], out["names"] = ports, names
    return out


def commented(text, at):
    start = text.rfind("\n", 0, at) + 1
    return text[start:at].lstrip().startswith(("#", ";", "//"))


def written(text, at, lines):
    """The line of a template that has become the one at a place of a text: the one with the longest beginning of it."""
    start = text.rfind("\n", 0, at) + 1
    line = text[start:].split("\n", 1)[0].strip()
    best, most = 1, 0
    for number, one in enumerate(lines, 1):
        n = len(os.path.commonprefix([one.strip(), line]))
        if n > most:
            best, most = number, n
    return best


def served(text, at):
    return bool(SERVED.match(text[text.rfind("\n", 0, at) + 1:at]))


def is_manifest(text):
    return bool(re.search(r"^\s*apiVersion:\s*\S", text, re.M) and re.search(r"^\s*kind:\s*\S", text, re.M))


def line_of(path, lines):
    """The line of the template on which a path stands, by the longest end of it that occurs."""
    parts = path.rstrip("/").split("/")
    for n in range(len(parts)):
        end = "/".join(parts[n:])
        for number, line in enumerate(lines, 1):
            if end and end in line:
                return number
    return 1


def compose(text):
    """Mounts as [host, container], published ports, and files of variables."""
    out = {"mounts": [], "ports": [], "files": [], "names": [], "images": [], "databases": [], "host": False}
    try:
        doc = yaml.safe_load(text)
        services = doc.get("services") or {}
        for name, service in services.items():
            if not isinstance(service, dict):
                continue
            out["names"].append(str(service.get("container_name") or name))
            if isinstance(service.get("image"), str):
                out["images"].append(service["image"])
            for v in service.get("volumes") or []:
                if isinstance(v, dict):
                    if v.get("type") == "bind":
                        out["mounts"].append([str(v.get("source", "")), str(v.get("target", ""))])
                elif str(v).startswith(("/", "~", "./")):
                    out["mounts"].append((str(v).split(":") + [str(v)])[:2])
            for p in service.get("ports") or []:
                port = str(p.get("published", "")) if isinstance(p, dict) else published(str(p))
                if port:
                    out["ports"].append(port)
            out["databases"] += databases(service)
            if service.get("network_mode") == "host":
                out["host"] = True
                out["ports"] += host_ports(service)
            files = service.get("env_file") or []
            out["files"] += [str(f) for f in ([files] if isinstance(files, str) else files) if str(f).startswith("/")]
    except Exception:  # not YAML once rendered in part: what looks like a mount is one
        for host, inner in re.findall(r"^\s*-\s*[\"']?(/[^:\s\"']+):(/[^:\s\"']+)", text, re.M):
            out["mounts"].append([host, inner])
    return out


def databases(service):
    """Databases that an image of a database server makes when it starts first."""
    environment = service.get("environment") or {}
    pairs = environment.items() if isinstance(environment, dict) else (str(e).split("=", 1) for e in environment if "=" in str(e))
    return [str(v) for k, v in pairs if k in ("POSTGRES_DB", "MYSQL_DATABASE", "MARIADB_DATABASE")]


def host_ports(service):
    """Ports of a container with the network of its host: those that its words and variables name as such."""
    words = service.get("command") or ""
    text = " ".join(map(str, words)) if isinstance(words, list) else str(words)
    found = re.findall(r"(?:--?(?:[\w-]*port|p|listen|bind|http)[ =](?:[\w.]*:)?|\s:)(\d{2,5})\b", text)
    environment = service.get("environment") or {}
    pairs = environment.items() if isinstance(environment, dict) else (str(e).split("=", 1) for e in environment if "=" in str(e))
    found += [str(v) for k, v in pairs if str(k).upper().endswith("PORT") and re.fullmatch(r"\d{2,5}", str(v))]
    check = service.get("healthcheck")
    check = check.get("test") if isinstance(check, dict) else ""
    found += re.findall(r"(?:localhost|127\.0\.0\.1):(\d{2,5})\b", " ".join(map(str, check)) if isinstance(check, list) else str(check or ""))
    return found + [str(p).split("/")[0] for p in service.get("expose") or []]


def published(port):
    """The port of the host in "8080:80", "127.0.0.1:8080:80/tcp"."""
    parts = port.split("/")[0].split(":")
    return parts[-2] if len(parts) > 1 else ""


def manifests(text):
    """The objects of a text with Kubernetes manifests."""
    return [d for d in documents(text) if "kind" in d]


def documents(text):
    try:
        return [d for d in yaml.safe_load_all(text) if isinstance(d, dict)]
    except yaml.YAMLError:
        return []
