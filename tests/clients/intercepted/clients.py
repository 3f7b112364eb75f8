"""A Python client as an application that knows nothing of headset: real names, https, and
credentials that mean nothing. Argument: which. Prints one line of JSON."""

import asyncio
import json
import os
import ssl
import sys

ECHO = "https://api.exotel.com/_sim/echo"
TRUSTED, UNKNOWN = os.environ["TRUSTED"], os.environ["UNKNOWN"]
DUMMY = ("dummy", "dummy")
FIELDS = {"Authorization": "Basic ZHVtbXk6ZHVtbXk="}


def judge(echo, version, other):
    """Fails unless exactly one credential arrived, and it is not the client's own."""
    shown = echo["authorization"]
    assert len(shown) == 1, f"{len(shown)} credentials arrived"
    assert shown[0] != FIELDS["Authorization"], "the client's own arrived"
    assert other == 200, other
    return f"{version}: one credential; another site: its own certificate, no credential"


def refused(call, *errors):
    try:
        call()
    except errors as error:
        assert "certificate" in str(error).lower(), error
        return
    raise AssertionError("a certificate that nobody vouches for was believed")


def with_requests():
    import requests

    with requests.Session() as session:
        session.auth = DUMMY
        echo = session.get(ECHO)
        other = session.get(TRUSTED).status_code
        refused(lambda: session.get(UNKNOWN), requests.exceptions.SSLError)
        version = {10: "HTTP/1.0", 11: "HTTP/1.1"}[echo.raw.version]
        return judge(echo.json(), version, other)


def with_httpx(h2=False):
    import httpx

    with httpx.Client(http1=not h2, http2=h2, auth=DUMMY, timeout=20) as client:
        echo = client.get(ECHO)
        assert echo.http_version == ("HTTP/2" if h2 else "HTTP/1.1"), echo.http_version
    # The other sites speak HTTP/1.1 alone.
    with httpx.Client(auth=DUMMY, timeout=20) as client:
        other = client.get(TRUSTED).status_code
        refused(lambda: client.get(UNKNOWN), httpx.ConnectError)
    return judge(echo.json(), echo.http_version, other)


async def with_aiohttp():
    import aiohttp

    # It looks for a proxy only where it is told to.
    async with aiohttp.ClientSession(trust_env=True, auth=aiohttp.BasicAuth(*DUMMY)) as session:
        async with session.get(ECHO) as answer:
            echo, version = await answer.json(), answer.version
        async with session.get(TRUSTED) as answer:
            other = answer.status
        try:
            async with session.get(UNKNOWN):
                raise AssertionError("a certificate that nobody vouches for was believed")
        except aiohttp.ClientConnectorCertificateError:
            pass
    return judge(echo, f"HTTP/{version.major}.{version.minor}", other)


def with_urllib3():
    import urllib3
    from urllib3.util import make_headers, parse_url

    # It takes a proxy as an argument; its user and password as fields.
    proxy = os.environ["HTTPS_PROXY"]
    fields = make_headers(proxy_basic_auth=parse_url(proxy).auth)
    context = ssl.create_default_context()
    pool = urllib3.ProxyManager(proxy, proxy_headers=fields, ssl_context=context)
    echo = pool.request("GET", ECHO, headers=FIELDS)
    other = pool.request("GET", TRUSTED, headers=FIELDS).status
    refused(lambda: pool.request("GET", UNKNOWN, retries=False), urllib3.exceptions.SSLError)
    return judge(echo.json(), {11: "HTTP/1.1"}[echo.version], other)


def with_urllib():
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    with urlopen(Request(ECHO, headers=FIELDS)) as answer:
        echo, version = json.load(answer), answer.version
    with urlopen(Request(TRUSTED, headers=FIELDS)) as answer:
        other = answer.status
    refused(lambda: urlopen(UNKNOWN), URLError)
    return judge(echo, {11: "HTTP/1.1"}[version], other)


def with_pyexotel():
    import requests
    from pyexotel import Exotel

    client = Exotel("dummy", "dummy", "acme")
    rang = client.call("09876543210", "08039511111", "09876543211")
    assert rang and rang["Call"]["Sid"], rang
    other = requests.get(TRUSTED, auth=DUMMY).status_code
    assert other == 200, other
    return "a call placed at api.exotel.com; another site: its own certificate, no credential"


def with_exotelpy():
    import requests
    from exotelpy import Exotel

    client = Exotel(sid="acme", key="dummy", token="dummy")
    lists = client.get_bulk_lists(limit=2)
    assert "response" in lists, lists
    other = requests.get(TRUSTED, auth=DUMMY).status_code
    assert other == 200, other
    return "lists read at api.exotel.com; another site: its own certificate, no credential"


def with_exotel():
    import requests
    from exotel import Exotel

    client = Exotel("dummy", "dummy")
    rang = client.call_number("09876543210", "08039511111", "09876543211")
    assert rang.status_code == 200 and rang.json(), (rang.status_code, rang.text)
    other = requests.get(TRUSTED, auth=DUMMY).status_code
    assert other == 200, other
    return "a call placed at its own host; another site: its own certificate, no credential"


CLIENTS = {
    "requests": with_requests,
    "httpx": with_httpx,
    "httpx-h2": lambda: with_httpx(h2=True),
    "aiohttp": lambda: asyncio.run(with_aiohttp()),
    "urllib3": with_urllib3,
    "urllib": with_urllib,
    "pyexotel": with_pyexotel,
    "exotelpy": with_exotelpy,
    "exotel": with_exotel,
}

print(json.dumps({"did": CLIENTS[sys.argv[1]]()}))
