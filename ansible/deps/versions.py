"""What differs between the versions of Ansible: from 2.19 on values carry their place and whether they may be
templates as tags, and templating is another engine."""

import re

from ansible.plugins.loader import lookup_loader
from ansible.release import __version__

VERSION = tuple(int(p) for p in __version__.split(".")[:2])
TAGS = VERSION >= (2, 19)

if TAGS:
    from ansible._internal._datatag._tags import Origin
    from ansible._internal._templating._jinja_bits import AnsibleEnvironment
    from ansible.parsing.vault import EncryptedString as Encrypted
    from ansible.template import trust_as_template

    ENVIRONMENTS = []  # it keeps what it compiled by itself
    environment_of = lambda templar: templar._engine.environment  # noqa: E731 (asking by the public name warns)
else:
    from ansible.parsing.yaml.objects import AnsibleVaultEncryptedUnicode as Encrypted
    from ansible.template import AnsibleEnvironment, AnsibleNativeEnvironment

    ENVIRONMENTS = [AnsibleEnvironment, AnsibleNativeEnvironment]
    environment_of = lambda templar: templar.environment  # noqa: E731


def position(obj):
    """The file and the line from which something was loaded; None where that is not known."""
    if TAGS:
        origin = Origin.get_tag(obj)
        return (str(origin.path), origin.line_num or 0) if origin and origin.path else None
    pos = getattr(obj, "ansible_pos", None)
    return (pos[0], pos[1]) if pos else None


def load(loader, path):
    """What a file of YAML says; its texts may be templates."""
    return loader.load_from_file(path, trusted_as_template=True) if TAGS else loader.load_from_file(path)


def listen(display, into):
    """Collects warnings in a list, in the form "NAME plugin: why" where they tell of plugins, until the function that is
    returned is called."""
    warning, as_warning = display.warning, getattr(display, "error_as_warning", None)
    display.warning = lambda text, *_, **__: into.append(str(text))
    if as_warning:
        def add(msg, exception, *_, **__):
            named = re.search(r"with '([^']+)' plugin", str(msg))
            into.append(f"{named[1] if named else ''} plugin: {exception}")
        display.error_as_warning = add

    def stop():
        display.warning = warning
        if as_warning:
            display.error_as_warning = as_warning
    return stop


def template(templar, text):
    """A text of the repository, rendered: an error where something in it is undefined."""
    if not TAGS:
        return templar.template(text, fail_on_undefined=True)
    return templar.template(trust_as_template(text) if isinstance(text, str) else text, fail_on_undefined=True)


def template_text(templar, text):
    """The same, always as text."""
    if not TAGS:
        return str(templar.template(text, fail_on_undefined=True, convert_data=False))
    # A text that is one expression alone would be what that gives.
    return str(templar.template(trust_as_template(text), fail_on_undefined=True))


def looped(templar, loader, name, terms, variables):
    """What with_NAME goes over."""
    terms = terms if isinstance(terms, list) else [terms]
    if not TAGS:
        return lookup_loader.get(name, loader=loader, templar=templar).run(terms, variables=variables)
    return templar.evaluate_expression(trust_as_template(f"query({name!r}, *looped_terms)"), local_variables={"looped_terms": terms})
