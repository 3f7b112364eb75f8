"""One Python HTTP client as an application, in a process of its own.

    speaker.py LIBRARY URL

Calls as applications do: a list, a record, an unknown path, an upload with a length
and one without, an event stream. Prints one line of JSON: how many calls, and what of.
"""

import asyncio
import hashlib
import json
import sys

SIZE = 3 << 20
DATA = bytes(range(256)) * (SIZE // 256)
DIGEST = hashlib.sha256(DATA).hexdigest()
LIST = "/configuration/cc/1/process?limit=2"
# Nothing that a library would write otherwise.
ECHO = "/_sim/echo?q=%7B%22a%22%3A1%7D&b="
STREAM = "/ameyorestapi/pushes?interval_ms=20&count=10"
STALE = {"Authorization": "Bearer stale", "X-Twice": "a"}


def pieces():
    for at in range(0, SIZE, 65536):
        yield DATA[at : at + 65536]


async def pieces_later():
    for piece in pieces():
        yield piece


def judge(listed, unknown, sized, unsized, pushed):
    """Fails unless every answer is the upstream's own to what was sent."""
    assert listed == 200, listed
    assert unknown == 404, unknown
    for echo in (sized, unsized):
        assert (echo["octets"], echo["sha256"]) == (SIZE, DIGEST), echo
        assert echo["target"] == ECHO, echo["target"]
        assert len(echo["authorization"]) == 1 and "stale" not in echo["authorization"][0]
    names = {name for name, _ in unsized["headers"]}
    assert ("transfer-encoding" in names) != ("content-length" in names), names
    assert pushed == 10, pushed


def with_requests(url):
    import requests

    with requests.Session() as session:
        session.trust_env = False
        pushed = 0
        with session.post(url + STREAM, stream=True) as answer:
            pushed = sum(b"seqNo" in line for line in answer.iter_lines())
        judge(
            session.get(url + LIST, headers=STALE).status_code,
            session.get(url + "/no/such").status_code,
            session.post(url + ECHO, data=DATA, headers=STALE).json(),
            session.put(url + ECHO, data=pieces(), headers=STALE).json(),
            pushed,
        )


def with_httpx(url, h2=False):
    import httpx

    with httpx.Client(trust_env=False, http1=not h2, http2=h2, timeout=20) as client:
        with client.stream("POST", url + STREAM) as answer:
            assert answer.http_version == ("HTTP/2" if h2 else "HTTP/1.1"), answer.http_version
            pushed = sum("seqNo" in line for line in answer.iter_lines())
        judge(
            client.get(url + LIST, headers=STALE).status_code,
            client.get(url + "/no/such").status_code,
            client.post(url + ECHO, content=DATA, headers=STALE).json(),
            client.put(url + ECHO, content=pieces(), headers=STALE).json(),
            pushed,
        )


def with_aiohttp(url):
    import aiohttp
    from yarl import URL

    async def run():
        async with aiohttp.ClientSession() as session:
            raw = URL(url + ECHO, encoded=True)
            async with session.post(URL(url + STREAM, encoded=True)) as answer:
                pushed = sum([b"seqNo" in line async for line in answer.content])
            async with session.get(url + LIST, headers=STALE) as answer:
                listed = answer.status
            async with session.get(url + "/no/such") as answer:
                unknown = answer.status
            # It waits for a 100 before it sends its body.
            async with session.post(raw, data=DATA, headers=STALE, expect100=True) as answer:
                sized = await answer.json()
            async with session.put(raw, data=pieces_later(), headers=STALE) as answer:
                unsized = await answer.json()
            judge(listed, unknown, sized, unsized, pushed)

    asyncio.run(run())


LIBRARIES = {
    "requests": with_requests,
    "httpx": with_httpx,
    "httpx-h2c": lambda url: with_httpx(url, h2=True),
    "aiohttp": with_aiohttp,
}

if __name__ == "__main__":
    LIBRARIES[sys.argv[1]](sys.argv[2])
    print(json.dumps({"calls": 5, "did": f"{sys.argv[1]}: list, 404, 2 uploads, stream"}))
