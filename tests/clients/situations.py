"""One run through everything that can befall a headset, seen by a real Prometheus with the rules that
ship, by the page in Chromium, by /status and in the log: which of them says what, after how many
seconds. The table of docs/observability.md is what it saw; UPDATE=1 writes it anew.

Alerts wait for minutes so that nobody is woken by a moment. Here each minute of the rules is a
second: `for: 5m` becomes `for: 5s`, `[5m]` becomes `[5s]`; nothing else is changed.
"""

import json
import os
import re
import shutil
import threading
import time
import urllib.parse
from pathlib import Path

import dashboard
from harness import Failed, LOOPBACK, PATIENCE, Skipped, call, expect, free_port, until
from page import TARGET, Window, browser

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
TABLE = ROOT / "docs" / "observability.md"
BEGIN, END = "<!-- seen -->\n", "<!-- /seen -->"
# For one step, in seconds: a credential of a minute must run out in one.
STEP = 3 * PATIENCE
LIFE = "60s"
# For so many seconds nothing may fire where nothing is to: longer than any `for`, hurried.
QUIET = 16


def hurried(rules):
    """`rules` with a second for each minute."""
    return re.sub(r"\b(\d+)m\b", r"\1s", rules)


class Prometheus:
    """Debian's, with the rules that ship, hurried."""

    def __init__(self, bench, targets, rules=None):
        program = shutil.which("prometheus")
        if not program:
            raise Skipped("prometheus is missing; apt-get install prometheus")
        file = bench.folder / "rules.yml"
        file.write_text(rules or RULES.read_text())
        config = bench.folder / "prometheus.yml"
        config.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(file)],
            "scrape_configs": [{"job_name": "headset", "static_configs": [{"targets": targets}]}],
        }))  # fmt: skip
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        self.process = bench.start("prometheus", [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={bench.folder / 'tsdb'}",
            f"--web.listen-address={LOOPBACK}:{port}",
            "--log.level=warn",
        ])  # fmt: skip
        until("Prometheus", lambda: call(self.url + "/-/ready").status == 200, process=self.process)

    def asked(self, path, **fields):
        """The data of an answer of its API."""
        query = urllib.parse.urlencode(fields)
        answer = call(f"{self.url}/api/v1/{path}?{query}").json()
        expect(answer["status"] == "success", f"{path} {fields}: {answer}")
        return answer["data"]

    def firing(self):
        """Which alerts fire, by instance."""
        found = {}
        for alert in self.asked("alerts")["alerts"]:
            if alert["state"] == "firing":
                labels = alert["labels"]
                found.setdefault(labels["instance"], set()).add(labels["alertname"])
        return found


class Scene:
    """One headset, and what befalls it, step by step."""

    def __init__(self, bench, chromium, name, steps, simulator=None, callers=1, **how):
        self.name = name
        self.simulator = simulator or bench.simulator(bearer_life="400d")
        self.gateway = bench.gateway(self.simulator, name=name, **how)
        self.instance = self.gateway.admin.removeprefix("http://")
        self.chromium = chromium
        self.steps = iter(steps(self))
        self.step = None
        self.callers = callers
        self.stop = threading.Event()

    def open(self):
        self.window = Window(self.chromium, self.gateway.admin)
        for _ in range(self.callers):
            threading.Thread(target=self.calls, daemon=True).start()
        self.next()

    def calls(self):
        while not self.stop.wait(0.1):
            try:
                call(self.gateway.url + TARGET)
            except OSError:
                pass

    def faults(self, **faults):
        call(self.simulator.url + "/_sim/faults", "POST", body=json.dumps(faults))

    def next(self):
        """Goes on to the next step; whether there is one."""
        # The first step is about all that was logged since the start.
        self.logged = len(self.gateway.process.stderr.read_bytes()) if self.step else 0
        self.step = next(self.steps, None)
        self.begun, self.seen = time.monotonic(), {}
        return self.step is not None

    def look(self, firing):
        """Notes what is as the step wants it; whether all of it has been."""
        alerts = firing.get(self.instance, set())
        verdict, headline = self.window.tab.evaluate(
            "[document.body.dataset.verdict, document.getElementById('headline').textContent]"
        )
        looks = {
            "alerts": (alerts == set(self.step["alerts"]), ", ".join(sorted(alerts)) or "none"),
            "page": (verdict == self.step["page"] and self.step.get("says", "") in headline, headline),
            "status": self.status(),
            "log": self.log(),
        }
        for what, (fits, text) in looks.items():
            if fits and what not in self.seen:
                self.seen[what] = (time.monotonic() - self.begun, text)
            elif not fits and what == "alerts":
                self.seen.pop(what, None)
        self.last = looks
        if len(self.seen) == len(looks) and self.is_quiet():
            return True
        if time.monotonic() - self.begun > STEP:
            missing = {what: text for what, (_, text) in looks.items() if what not in self.seen}
            raise Failed(f"{self.name}, {self.step['name']}: after {STEP} s not as expected: {missing}; {self.step}")
        return False

    def is_quiet(self):
        """Whether, where nothing is to fire, nothing has for a while."""
        since = time.monotonic() - self.begun - self.seen["alerts"][0]
        return bool(self.step["alerts"]) or since >= QUIET

    def status(self):
        wanted = self.step.get("status")
        if wanted is None:
            return (True, "no answer")
        try:
            told = self.gateway.credential()[0]
        except OSError:
            return (False, "no answer")
        human = told.get("human") or {}
        text = told["state"] + (f", {human['reason']}" if human.get("reason") else "")
        return (text == wanted and told["generation"] >= self.step.get("generation", 0), text)

    def log(self):
        wanted = self.step.get("log")
        if wanted is None:
            return (True, "nothing")
        for line in self.gateway.process.stderr.read_bytes()[self.logged:].splitlines():
            try:
                message = json.loads(line).get("message", "")
            except ValueError:
                continue
            if wanted in message:
                return (True, message)
        return (False, "not yet")


def life(scene):
    """From well to refused and back."""
    yield {"name": "live", "alerts": [], "page": "well", "status": "live"}
    yield {"name": "renewing", "alerts": [], "page": "well", "status": "live", "generation": 2, "log": "credential renewed"}
    scene.faults(registration_status=500, registration_status_next=1_000_000)
    yield {
        "name": "the issuer fails", "alerts": ["HeadsetRenewalFailing"], "page": "heed", "says": "Renewing cms_key fails",
        "status": "failing", "log": "could not be minted",
    }  # fmt: skip
    scene.faults(registration_status=403, registration_status_next=1_000_000)
    yield {
        "name": "the issuer refuses, the credential has expired",
        "alerts": ["HeadsetNoCredential", "HeadsetHumanActionRequired", "HeadsetHumanActionDue", "HeadsetHumanActionUrgent", "HeadsetAnswersItself"],
        "page": "bad", "says": "cms_key was refused", "status": "refused, allow_access", "log": "credential refused",
    }  # fmt: skip
    scene.faults(registration_status_next=0)
    retry(scene)
    yield {"name": "mended, and `headset retry`", "alerts": [], "page": "well", "status": "live", "log": "credential recovered"}


def retry(scene):
    bench = scene.gateway.bench
    asked = bench.run("retry", [bench.binary, "retry", "cms_key", "--socket", bench.folder / "life.sock"])
    expect(asked.ended() == "exit code 0", asked.tail())


def never(_):
    yield {
        "name": "never had one: the issuer fails since the start", "alerts": ["HeadsetNeverMinted", "HeadsetAnswersItself"],
        "page": "bad", "says": "never been minted", "status": "none", "log": "could not be minted",
    }  # fmt: skip


def bearer(_):
    yield {
        "name": "the admin bearer is about to end", "alerts": ["HeadsetHumanActionDue", "HeadsetHumanActionUrgent"],
        "page": "heed", "says": "needs manual action", "status": "live", "log": "manual action required",
    }  # fmt: skip


def down(scene):
    scene.simulator.process.kill()
    yield {
        "name": "the upstream is down", "alerts": ["HeadsetUpstreamFailing", "HeadsetAnswersItself"],
        "page": "bad", "says": "Most calls of contacts fail", "status": "live", "log": "call failed",
    }  # fmt: skip


def busy(scene):
    scene.faults(delay_ms=3000)
    yield {
        "name": "more calls than `limits.in_flight`", "alerts": ["HeadsetOverloaded", "HeadsetAnswersItself"],
        "page": "bad", "says": "calls of contacts fail", "status": "live", "log": "call failed",
    }  # fmt: skip


def refused(scene):
    kept = scene.gateway.config.read_text()
    scene.gateway.config.write_text(kept.replace("context_id", "contextid"))
    yield {
        "name": "a changed configuration has a fault", "alerts": ["HeadsetConfigurationRefused"], "page": "heed",
        "says": "configuration was refused", "status": "live", "log": "configuration refused",
    }  # fmt: skip
    scene.gateway.config.write_text(kept)
    yield {"name": "corrected", "alerts": [], "page": "well", "status": "live", "log": "configuration reloaded"}


def gone(scene):
    scene.stop.set()
    scene.gateway.process.kill()
    yield {"name": "headset is dead", "alerts": ["HeadsetDown"], "page": "stale", "says": "headset cannot be reached"}


def situations(bench):
    """Every situation; then every query of the dashboard against what Prometheus has kept."""
    if not shutil.which("prometheus"):
        raise Skipped("prometheus is missing; apt-get install prometheus")
    with browser() as chromium:
        failing = {"registration_status": 500, "registration_status_next": 1_000_000}
        scenes = [
            Scene(bench, chromium, "life", life, life=LIFE, environment={"HEADSET_ADMIN__SOCKET": f"{bench.folder}/life.sock"}),
            Scene(bench, chromium, "never", never, simulator=bench.simulator(failing), live=False),
            Scene(bench, chromium, "bearer", bearer, simulator=bench.simulator(bearer_life="2h"), life="1h"),
            Scene(bench, chromium, "down", down),
            Scene(bench, chromium, "busy", busy, callers=8, extra="[limits]\nin_flight = 2\n"),
            Scene(bench, chromium, "refused", refused),
            Scene(bench, chromium, "gone", gone),
        ]
        prometheus = Prometheus(bench, [scene.instance for scene in scenes], hurried(RULES.read_text()))
        until(
            "a scrape of each",
            lambda: len(prometheus.asked("query", query="headset_build_info")["result"]) == len(scenes),
            process=prometheus.process,
        )
        rows = []
        for scene in scenes:
            scene.open()
        left = list(scenes)
        while left:
            # The browser goes on meanwhile.
            left[0].window.tab.wait_for_timeout(300)
            firing = prometheus.firing()
            for scene in list(left):
                if scene.look(firing):
                    rows.append((scenes.index(scene), len(rows), scene.step["name"], scene.seen))
                    if not scene.next():
                        left.remove(scene)
        queries = dashboard.judge(prometheus)
        for scene in scenes:
            scene.stop.set()
            complaints = scene.window.complaints
            expect(not complaints, f"{scene.name}: the browser complains: {complaints}")
    table = drawn([(name, seen) for _, _, name, seen in sorted(rows, key=lambda row: row[:2])])
    (bench.folder / "table.md").write_text(table)
    compare(table)
    prometheus.process.stop()
    return f"{len(rows)} situations as docs/observability.md says; {queries}"


def drawn(rows):
    """The table, in Markdown."""
    lines = ["| What happened | The page | `/status` | The log | Alerts that fire |", "|---|---|---|---|---|"]
    for name, seen in rows:
        cells = [name]
        for what in ("page", "status", "log", "alerts"):
            seconds, text = seen[what]
            text = re.sub(r"by [\d: A-Za-z]*\d\d:\d\d:\d\d", "by 21:07:42", text).replace("|", "\\|")
            text = re.sub(r"(Headset\w+)", r"`\1`", text) if what == "alerts" else text
            cells.append(text if text in ("nothing", "no answer") else f"{text} ({seconds:.0f} s)")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def compare(table):
    """What was seen is what the page in docs/ says, but for the seconds."""
    page = TABLE.read_text()
    expect(BEGIN in page and END in page, f"{TABLE} has no table")
    before, rest = page.split(BEGIN)
    kept, after = rest.split(END)
    if os.environ.get("UPDATE"):
        TABLE.write_text(before + BEGIN + table + END + after)
        return
    timeless = lambda text: re.sub(r" \(\d+ s\)", "", text)
    expect(timeless(kept) == timeless(table), f"docs/observability.md says otherwise; UPDATE=1 writes what was seen:\n{table}")
