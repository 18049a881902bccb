"""Which variables a text uses, by Jinja's own parser."""

from jinja2 import meta, nodes

from versions import Encrypted


def is_text_template(text):
    return "{{" in text or "{%" in text


def listed(value):
    """An attribute that may be written as one thing or as a list of them."""
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def strings(value):
    if isinstance(value, Encrypted):
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from strings(k)
            yield from strings(v)
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from strings(v)


class Names:
    """The names that texts use, and their lookups. Attributes of other hosts' variables are kept apart:
    they are used, but what they are for this host says nothing."""

    def __init__(self, environment):
        self.env = environment
        self.cache = {}
        self.values, self.made = {}, {}

    def of(self, text):
        """(names, names of other hosts, lookups) of a template."""
        if text not in self.cache:
            self.cache[text] = self.parse(text)
        return self.cache[text]

    def parse(self, text):
        try:
            tree = self.env.parse(text)
        except Exception:  # whatever Jinja says of it, rendering will say it better
            return frozenset(), frozenset(), ()
        others = set()
        for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
            inner = node.node
            if isinstance(inner, nodes.Getitem) and isinstance(inner.node, nodes.Name) and inner.node.name == "hostvars":
                if isinstance(node, nodes.Getattr):
                    others.add(node.attr)
                elif isinstance(node.arg, nodes.Const):
                    others.add(str(node.arg.value))
        lookups = []
        for call in tree.find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name in ("lookup", "query", "q"):
                lookups.append(tuple(a.value if isinstance(a, nodes.Const) else None for a in call.args))
        try:
            names = meta.find_undeclared_variables(tree)
        except Exception:  # a filter of a collection that is not installed: Jinja wants to know it
            found = list(tree.find_all(nodes.Name))
            names = {n.name for n in found if n.ctx == "load"} - {n.name for n in found if n.ctx != "load"}
        return frozenset(names), frozenset(others), tuple(lookups)

    def parses(self, text):
        """Whether it is a template at all; which filters there are does not count."""
        try:
            self.env.parse(text)
            return True
        except Exception:
            return False

    def inside(self, value):
        """(names, lookups) used anywhere in a structure."""
        used, lookups = set(), []
        for text in strings(value):
            if is_text_template(text):
                names, others, found = self.of(text)
                used |= names | others
                lookups += found
        return used, lookups

    def expression(self, text):
        """The names of a bare expression, as conditions are."""
        if is_text_template(text):
            return self.of(text)[0]
        return self.of("{{ " + text + " }}")[0]

    def closure(self, start, variables):
        """The names, and those that their values use, and so on."""
        done = set()
        todo = list(start)
        while todo:
            name = todo.pop()
            if name in done:
                continue
            done.add(name)
            value = variables.get(name)
            if isinstance(value, (str, dict, list, tuple)):
                todo.extend(self.value(value))
        return done

    def lookups(self, start, variables):
        """The lookups in the values of names, and of those that they use."""
        out = []
        for name in self.closure(start, variables):
            value = variables.get(name)
            if not isinstance(value, (str, dict, list, tuple)):
                continue
            kept = self.made.get(id(value))
            if kept is None or kept[0] is not value:
                kept = self.made[id(value)] = (value, self.inside(value)[1])
            out += kept[1]
        return out

    def value(self, value):
        if isinstance(value, str):
            return self.of(value)[0] if is_text_template(value) else ()
        # Kept by identity, together with the value, so that the identity stays its own.
        kept = self.values.get(id(value))
        if kept is None or kept[0] is not value:
            used = set()
            for text in strings(value):
                if is_text_template(text):
                    used |= self.of(text)[0]
            kept = self.values[id(value)] = (value, frozenset(used))
        return kept[1]
