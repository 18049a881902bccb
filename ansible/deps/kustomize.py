"""Objects of Kubernetes that a command lays down from files of the repository, with kustomize or without."""

import os
import re

import contents
from says import READS, ROOT, inside

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
# Kinds that belong to no namespace.
CLUSTER = {"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "ClusterIssuer", "IngressClass", "StorageClass",
           "PersistentVolume", "PriorityClass", "ClusterPolicy", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}
CALL = re.compile(r"\b(?:kubectl|oc)\b[^;|&\n]*?\s(?:-k|--kustomize)[ =](\S+)|\bkustomize\s+build\s+(?:-\S+\s+)*([^\s|;&-]\S*)")
FILES = re.compile(r"\b(?:kubectl|oc)\b[^;|&\n]*?\s(?:apply|create|replace)\b([^;|&\n]*)")
LOOKUP = re.compile(r"kustomize['\"]\s*,\s*dir=(.+?)\)\s*(?:\||\}\})", re.S)
DEPTH = 8


def built(folder, depth=0):
    """What kustomize makes of a folder, as far as its resources, namespace and names go."""
    path = next((p for p in (os.path.join(folder, n) for n in NAMES) if os.path.isfile(p)), "")
    if not path or depth > DEPTH or not inside(os.path.realpath(path)):
        return []
    said = next(iter(documents(path)), {})
    out = []
    for name in [*(said.get("resources") or []), *(said.get("bases") or []), *(said.get("components") or [])]:
        found = os.path.normpath(os.path.join(folder, str(name)))
        out += built(found, depth + 1) if os.path.isdir(found) else documents(found)
    for key, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
        out += [{"apiVersion": "v1", "kind": kind, "metadata": {"name": g.get("name")}} for g in said.get(key) or [] if isinstance(g, dict)]
    return [renamed(o, said) for o in out if isinstance(o, dict) and isinstance(o.get("metadata"), dict)]


def renamed(o, said):
    meta = dict(o["metadata"])
    if said.get("namespace") and o.get("kind") not in CLUSTER:
        meta["namespace"] = said["namespace"]
    meta["name"] = f"{said.get('namePrefix') or ''}{meta.get('name', '')}{said.get('nameSuffix') or ''}"
    return tagged({**o, "metadata": meta}, [i for i in said.get("images") or [] if isinstance(i, dict)])


def tagged(value, images):
    """The same with other names and tags for images."""
    if isinstance(value, list):
        return [tagged(v, images) for v in value]
    if not isinstance(value, dict) or not images:
        return value
    out = {k: tagged(v, images) for k, v in value.items()}
    if isinstance(out.get("image"), str):
        name, _, tag = out["image"].rpartition(":") if ":" in out["image"].rsplit("/", 1)[-1] else (out["image"], "", "")
        for image in images:
            if image.get("name") == name:
                name, tag = str(image.get("newName") or name), str(image.get("newTag") or tag)
                out["image"] = f"{name}:{tag}" if tag else name
                break
    return out


def documents(path):
    if not os.path.isfile(path) or not inside(os.path.realpath(path)):
        return []
    READS.add(os.path.realpath(path), "manifest")
    try:
        with open(path, encoding="utf-8") as f:
            return contents.documents(f.read(1 << 20))
    except (OSError, ValueError):
        return []


def applied(text, folders):
    """The objects of the files and folders that a command names, looked for from some folders."""
    out = []
    for match in CALL.finditer(text):
        for found in there(match[1] or match[2], folders):
            out += built(found)
    for match in FILES.finditer(text):
        for name in re.findall(r"(?:-f|--filename)[ =](\S+)", match[1]):
            for found in there(name, folders):
                names = sorted(os.listdir(found)) if os.path.isdir(found) else [""]
                for n in names:
                    if not n or n.endswith((".yaml", ".yml", ".json")):
                        out += [o for o in documents(os.path.join(found, n) if n else found) if "kind" in o]
    return out


def there(name, folders):
    """The file or folder of the repository that a command means."""
    for folder in folders:
        path = os.path.realpath(os.path.join(folder, name.strip("'\"")))
        if os.path.exists(path) and (path == ROOT or inside(path)):
            return [path]
    return []
