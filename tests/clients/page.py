"""The page of the admin listener in Debian's Chromium: what it says in each situation, whether
everybody can use it, how it looks.

The pictures of every situation, width and colour scheme are kept in target/outside/pictures/.
"""

import contextlib
import secrets
import shutil
import threading
import time
from pathlib import Path

from fleet import Fleet
from harness import Failed, LOOPBACK, Skipped, call, expect, free_port, until

PICTURES = Path("target/outside/pictures")
AXE = Path("target/outside/node/node_modules/axe-core/axe.min.js")
# A phone, a tablet, a desk.
WIDTHS = (360, 768, 1280)
SCHEMES = ("light", "dark")
# What axe holds: WCAG 2.2 and its own advice.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
TARGET = "/configuration/cc/1/process?limit=2&token=nobodys-business"


@contextlib.contextmanager
def browser():
    """Debian's Chromium, headless."""
    program = shutil.which("chromium")
    if not program:
        raise Skipped("chromium is missing; apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # As root it runs only without its sandbox; the pages are ours.
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


class Window:
    """One window with the page, and whatever the browser complained of."""

    def __init__(self, chromium, url):
        self.tab = chromium.new_page(viewport={"width": 1280, "height": 900})
        self.complaints = []
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("console", self.said)
        self.tab.goto(url + "/")

    def said(self, message):
        # That a connection is refused is what some cases are about.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def text(self, where):
        return self.tab.inner_text(where)

    def turns(self, verdict, seconds=60):
        """Waits until the page's verdict is this one; how long that took."""
        begun = time.monotonic()
        try:
            self.tab.wait_for_selector(f"body[data-verdict={verdict}]", timeout=seconds * 1000)
        except Exception:
            raise Failed(f"the page did not turn {verdict}: {self.text('#verdict')}") from None
        return time.monotonic() - begun

    def until(self, what, condition):
        return until(what, lambda: self.tab.wait_for_timeout(50) or condition())

    def judge(self, name):
        """Takes pictures, and lets axe look at the page as it is now."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        for scheme in SCHEMES:
            self.tab.emulate_media(color_scheme=scheme)
            for width in WIDTHS:
                self.tab.set_viewport_size({"width": width, "height": 900})
                self.tab.screenshot(path=PICTURES / f"{name}-{width}-{scheme}.png", full_page=True)
                over = self.tab.evaluate("document.documentElement.scrollWidth - innerWidth")
                expect(over <= 0, f"{name}: at {width} px it is {over} px too wide")
            # Through the debugging port, which the page's policy does not bind.
            self.tab.evaluate(AXE.read_text())
            found = self.tab.evaluate(
                "rules => axe.run(document, { runOnly: rules }).then(r => r.violations.map("
                "v => v.id + ': ' + v.help + ' at ' + v.nodes.map(n => n.target).join(', ')))",
                RULES,
            )
            expect(not found, f"{name}, {scheme}: axe finds {'; '.join(found)}")
        self.tab.emulate_media(color_scheme="light")
        self.tab.set_viewport_size({"width": 1280, "height": 900})


@contextlib.contextmanager
def calls(url):
    """A caller who never rests."""
    stop = threading.Event()

    def go():
        while not stop.wait(0.05):
            with contextlib.suppress(OSError):
                call(url + TARGET)

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def page(bench):
    """What the page says while all is well, while the issuer refuses, while the upstream is
    down, and when headset is gone; in both colour schemes, at three widths, to everybody."""
    if not AXE.is_file():
        raise Skipped("axe-core is missing; install nodejs and npm")
    with browser() as chromium:
        said = [well_refused_gone(bench, chromium), upstream_down(bench, chromium)]
        said.append(with_token(bench, chromium))
        said.append(store_down(bench, chromium))
    return "; ".join(said)


def well_refused_gone(bench, chromium):
    # No manual action is due soon: all is well until the issuer refuses.
    simulator = bench.simulator(bearer_life="400d")
    # Renewed every few seconds, so that the renewal can be refused.
    gateway = bench.gateway(simulator, life="40s", name="short")
    window = Window(chromium, gateway.admin)
    with calls(gateway.url):
        window.turns("well")
        window.until("a countdown that falls", lambda: falls(window))
        window.until("a chart", lambda: window.tab.query_selector("svg .line[d*=L]"))
        explain(window)
        expect("nobodys-business" not in window.tab.content(), "the page shows a query")
        window.judge("well")

        # The issuer refuses: while the credential lives, somebody must look; then all fails.
        call(simulator.url + "/_sim/faults", "POST", body='{"registration_status": 403, "registration_status_next": 1000}')
        heeded = window.turns("heed", 90)
        expect("still valid" in window.text("#headline"), window.text("#headline"))
        expect("What to do" in window.text("#credentials"), window.text("#credentials"))
        window.judge("failing")
        refused = window.turns("bad", 90)
        window.until("the credential's name", lambda: "cms_key was refused: calls that need it fail" in window.text("#headline"))
        window.until("a failed call", lambda: "credential_unavailable" in window.text("#failures"))
        window.judge("refused")

    for process in ("/metrics", "/livez"):
        gateway.probe(process)
    gateway.process.kill()
    stale = window.turns("stale")
    expect("old" in window.text("#summary"), window.text("#verdict"))
    window.judge("stale")
    expect(not window.complaints, f"the browser complains: {window.complaints}")
    return f"failing after {heeded:.0f} s, refused after {refused:.0f} s more, stale after {stale:.1f} s"


def falls(window):
    """Whether the countdown is lower a moment later, within one generation."""
    read = lambda: (window.text(".left").split("\n")[0], window.text("article dl dd >> nth=1"))
    (left, generation), _, (later, same) = read(), window.tab.wait_for_timeout(1100), read()
    return generation == same and later < left


def explain(window):
    """By keyboard alone."""
    window.tab.focus("#explain-url")
    window.tab.keyboard.press("Control+A")
    window.tab.keyboard.type("/configuration/basicauth?token=nobodys-business")
    window.tab.keyboard.press("Enter")
    window.until("a refusal", lambda: "issuer_target" in window.text("#explained"))
    window.tab.keyboard.press("Control+A")
    window.tab.keyboard.type("/configuration/cc/1/process")
    window.tab.keyboard.press("Enter")
    window.until("an explanation", lambda: "takes the route contacts" in window.text("#explained"))
    expect("cms_key (basicauth)" in window.text("#explained"), window.text("#explained"))


def upstream_down(bench, chromium):
    simulator = bench.simulator()
    gateway = bench.gateway(simulator, name="before")
    window = Window(chromium, gateway.admin)
    with calls(gateway.url):
        window.turns("well")
        simulator.process.kill()
        seconds = window.turns("bad", 90)
        window.until("why", lambda: "upstream_unreachable" in window.text("#summary"))
        headline, summary = window.text("#headline"), window.text("#summary")
        expect(headline == "Most calls of contacts fail.", headline)
        expect(" in the last " in summary, summary)
        expect("request id" in window.text("#failures"), window.text("#failures"))
        window.judge("upstream-down")
    expect(not window.complaints, f"the browser complains: {window.complaints}")
    gateway.stop()
    return f"upstream down after {seconds:.0f} s"


def store_down(bench, chromium):
    """A replica of a fleet shows its role, its store, what is published, and that the store is down."""
    world = Fleet(bench)
    keeper = world.add("keeper", "keeper")
    world.until_live()
    window = Window(chromium, keeper.admin)
    window.tab.wait_for_selector("#token-field", state="visible")
    window.tab.fill("#token-field", world.token)
    window.tab.keyboard.press("Enter")
    window.until("a fleet whose store is up", lambda: "is up since" in window.text("#fleet"))
    expect("This replica is a keeper." in window.text("#fleet"), window.text("#fleet"))
    window.until("what is published", lambda: "which is published" in window.text("#credentials"))
    window.judge("fleet")
    world.redis.kill()
    window.until("that it is down", lambda: window.text("#headline") == "The shared store of the fleet is down.")
    expect("is down since" in window.text("#fleet"), window.text("#fleet"))
    window.judge("fleet-store-down")
    world.redis.start()
    window.until("that it is back", lambda: "is up since" in window.text("#fleet"))
    expect("Last error" in window.text("#fleet"), window.text("#fleet"))
    expect(not window.complaints, f"the browser complains: {window.complaints}")
    return "a store that is down is told, and that it is back"


def with_token(bench, chromium):
    """Where the listener has a token the page asks for it, and keeps it to itself."""
    token, path = bench.secret("admin-token", secrets.token_urlsafe(24))
    app, admin = free_port(), free_port()
    config = bench.folder / "token.toml"
    config.write_text(
        f'''[listener.app]
bind = "{LOOPBACK}:{app}"
[admin]
bind = "{LOOPBACK}:{admin}"
token = {{ file = "{path}" }}
[route.all]
upstream = "http://{LOOPBACK}:9"
''',
        encoding="utf-8",
    )
    process = bench.start("token", [bench.binary, "run", "--config", config])
    url = f"http://{LOOPBACK}:{admin}"
    until("the admin listener", lambda: call(url + "/livez").status == 200, process=process)
    window = Window(chromium, url)
    window.tab.wait_for_selector("#token-field", state="visible")
    expect(not window.tab.is_visible("#told"), "it shows something without the token")
    window.judge("token")
    for shown, wanted in (("wrong", "not the token"), (token, None)):
        window.tab.fill("#token-field", shown)
        window.tab.keyboard.press("Enter")
        if wanted:
            window.until(wanted, lambda: wanted in window.text("#headline"))
    window.turns("well")
    kept = window.tab.evaluate("[document.cookie, ...Object.values(localStorage), ...Object.values(sessionStorage)].join()")
    expect(kept == "" and token not in window.tab.content(), "the page keeps the token")
    process.stop()
    return "the token is asked for and not kept"
