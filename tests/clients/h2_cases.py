"""What a case is: what RFC 9113 or RFC 7541 asks of a server, as a sentence.

A case is what a caller sends after its preface and SETTINGS (octets, or a coroutine that
may return the last of them, and may judge by itself), and the outcomes that the RFC
allows, as `Peer.outcome` says them. Where the RFC asks for a stream error, a connection error of the same code passes too
(§5.4); where it asks for a connection error, GOAWAY has to say the code. Sections of
RFC 7541 are written `7541/6.1`.
"""

import json

from h2_peer import END_HEADERS, END_STREAM, HEADERS, PREFACE, frame, head, settings

CASES = []
# Title to what comes of it, and why.
DEVIATIONS = {}
PROTOCOL, FRAME_SIZE, FLOW, CLOSED = "PROTOCOL_ERROR", "FRAME_SIZE_ERROR", "FLOW_CONTROL_ERROR", "STREAM_CLOSED"
COMPRESSION = "COMPRESSION_ERROR"
GREETING = PREFACE + settings()
LARGEST = 16384
ANSWERED, IGNORED = {"200"}, {"ignored"}


def connection(*codes):
    """A connection error (§5.4.1)."""
    return {f"GOAWAY {code}" for code in codes}


def stream(*codes):
    """A stream error (§5.4.2), which may be treated as a connection error (§5.4)."""
    return {f"RST_STREAM {code}" for code in codes} | connection(*codes)


# §8.1.1: a stream error, before which a server may answer.
MALFORMED = stream(PROTOCOL) | {"400"}
# Where the name is what is wrong, headset may refuse the name.
REFUSED = MALFORMED | {"421"}


class Case:
    """`on` is the stream whose answer or reset counts; the greeting goes before all else."""

    def __init__(self, section, title, expected, script, on, greeting):
        self.section, self.title, self.expected = section, title, expected
        self.script, self.on, self.greeting = script, on, greeting

    async def run(self, peer):
        last = await self.script(peer) if callable(self.script) else self.script
        # Where an answer is one of the outcomes it is waited for; else a further request
        # proves that all before it was read.
        answers = any(outcome.isdigit() for outcome in self.expected)
        return await peer.outcome(self.on, not answers, last or b"")


def case(section, title, script, expected, on=1, greeting=GREETING):
    """Adds a case. Titles are unique, since deviations go by them."""
    assert all(one.title != title for one in CASES), f"two cases are called {title}"
    CASES.append(Case(section, title, expected, script, on, greeting))


def told(section, title, expected=ANSWERED, greeting=GREETING, on=1):
    """For a case that is a coroutine."""
    return lambda script: case(section, title, script, expected, on, greeting)


def answered_first(*octets):
    """`octets`, once a request on stream 1 has its answer: it is closed."""

    async def script(peer):
        peer.send(head(1))
        await peer.answer(1)
        peer.whole.discard(1)
        return b"".join(octets)

    return script


def asked(stream=1, *fields, **pseudo):
    """A request that must not reach an upstream."""
    pseudo.setdefault("path", "/never")
    return head(stream, *fields, **pseudo)


def raw(octets, stream=1, flags=END_HEADERS | END_STREAM):
    """HEADERS with any octets for a block."""
    return frame(HEADERS, flags, stream, octets)


def report(peer, stream=1):
    """What the upstream said that it got."""
    return json.loads(peer.octets[stream])


def known(outcome, why, *titles):
    """Cases of these titles come out otherwise, and `why`. All of it is the `h2` library's
    (0.4.20)."""
    for title in titles:
        assert any(one.title == title for one in CASES), f"no case is called {title}"
        DEVIATIONS[title] = (outcome, why)


# What must always be answered.
FRESH = Case("8.1", "a request is answered", ANSWERED, head(), 1, GREETING)
