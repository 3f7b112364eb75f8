"""Searches all output for every secret, in every spelling of it."""

import base64
import re

from harness import Failed, expect, spellings

# A credential in a header field, whoever it belongs to: `Basic` or `Bearer` and a
# token that is long enough to be one.
FIELD = re.compile(rb"\b(?:Basic|Bearer)\s+[A-Za-z0-9+/_.=-]{16,}", re.IGNORECASE)


def search(benches):
    """Fails with file and secret (never its value) where one is found."""
    searched, octets, found = 0, 0, []
    used = [(bench.name, what, value) for bench in benches for what, value in bench.secrets.items()]
    needles = [(name, what, needle) for name, what, value in used for needle in spellings(value)]
    for bench in benches:
        texts = [(f"{bench.name}: {p.name} stdout", p.stdout.read_bytes()) for p in bench.processes]
        texts += [(f"{bench.name}: {p.name} stderr", p.stderr.read_bytes()) for p in bench.processes]
        texts.append((f"{bench.name}: what headset answered", bytes(bench.heard)))
        for where, text in texts:
            searched, octets = searched + 1, octets + len(text)
            found += [f"{where} holds {what} of {name}" for name, what, n in needles if n in text]
            found += [f"{where} holds a credential field" for _ in FIELD.findall(text)[:1]]
    prove(used)
    if found:
        raise Failed("\n         ".join(sorted(set(found))))
    if used:
        expect(octets > 0, "there was nothing to search")
    return f"{len(used)} secrets, {len(needles)} spellings, {searched} outputs of {octets} octets"


def prove(used):
    """The search itself finds what was planted, whatever stands around it."""
    for _, what, value in used:
        for lead in (b"", b"x", b"xy"):
            planted = base64.b64encode(lead + value.encode() + b"tail")
            expect(
                any(needle in planted for needle in spellings(value)),
                f"the search would not find {what} in base64",
            )
