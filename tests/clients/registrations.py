"""What must not ask the issuer, and what must: fifty reloads that change everything but a
credential, and a rollout in which each new process has a new password.

The simulator counts every registration and every login; these checks hold its counts
against what the configuration asked for.
"""

import base64
import json
import re
import secrets

from calls import Headset, load
from harness import LOOPBACK, call, expect, free_port, until

RELOADS = 50
ROLLOUTS = 5

# Kind, target that takes its credential, user name, password, and further options. Names
# and passwords are those that `headset simulate` prints: no secrets.
LOGINS = [
    ("ccm_token", "/v2/accounts/acct/calls", "sim_api_key", "sim_api_token", ""),
    ("v4_login", "/v2/accounts/acct/calls", "sim_api_key", "sim_api_token", 'account_sid = "acct"'),
    ("ameyo_session", "/ameyorestapi/cc/campaigns/getAssigned", "doc_admin", "doc_admin", ""),
    ("ameyo_jwt", "/data-engine/things", "supervisor01", "supervisor@123$", 'domain = "cms.test.local"'),
    ("integrations_token", "/v2/integrations/app", "sim_integration", "sim_integration_secret", 'entity = "app"'),
    ("recipe", "/acme/things", "acme_login", "acme_secret", ""),
]
ISSUERS = {
    "ccm_token": "/v2/accounts/acct/configuration/basicauth",
    "v4_login": "/v4/accounts/acct/login",
    "ameyo_session": "/ameyorestapi/session/userLogin",
    "ameyo_jwt": "/ameyorestapi/userLogin/login",
    "integrations_token": "/v2/integrations/token",
    "recipe": "/acme/session",
}
ACME = """body = '{"login":"{username}","secret":"{password}"}'
success_status = ["201"]
token = "header:x-acme-token"
expiry = ["epoch_seconds /expires"]
headers = ["x-acme-auth: {token}"]
revoke.url = "URL"
revoke.request_headers = ["x-acme-auth: {token}"]
on_shutdown = "revoke"
"""


class AllKinds:
    """headset before a simulator with a credential of every kind, each in a route of its
    own, whose host is the kind's name."""

    def __init__(self, bench, simulator):
        self.bench, self.simulator = bench, simulator
        app, admin = free_port(), free_port()
        self.port = app
        self.url, self.admin = f"http://{LOOPBACK}:{app}", f"http://{LOOPBACK}:{admin}"
        self.config = bench.folder / "headset.toml"
        self.start = f'[listener.app]\nbind = "{LOOPBACK}:{app}"\n[admin]\nbind = "{LOOPBACK}:{admin}"\n'
        # Kind to its target.
        self.targets = {"basicauth": "/configuration/cc/1/process?limit=2", "static": "/configuration/cc/2/process"}
        self.targets |= {kind: target for kind, target, *_ in LOGINS}
        self.credentials = self.described()
        self.write(0)
        self.process = bench.start("headset", [bench.binary, "run", "--config", self.config])
        until("/startupz", lambda: call(self.admin + "/startupz").status == 200, process=self.process)

    def described(self):
        """Kind to the table of its credential."""
        base = self.simulator.url
        _, password = self.bench.secret("password")
        found = {
            "basicauth": f"""kind = "basicauth"
url = "{base}/configuration/basicauth"
username = "crm_{secrets.token_hex(4)}"
password = {{ file = "{password}" }}
context_id = "1"
admin_bearer = {{ file = "{self.simulator.bearer_path}" }}
""",
            # A key that somebody else registered.
            "static": f"""kind = "static"
basic = {{ username = "standing", password = {{ file = "{password}" }} }}
""",
        }
        for kind, _, username, secret, options in LOGINS:
            path = self.bench.folder / f"{kind}.password"
            path.touch(mode=0o600)
            path.write_text(secret)
            url = base + ISSUERS[kind]
            found[kind] = f"""kind = "{kind}"
url = "{url}"
username = "{username}"
password = {{ file = "{path}" }}
{options}
{ACME.replace("URL", url) if kind == "recipe" else ""}"""
        return found

    def write(self, turn):
        """Writes the configuration of this turn: one limit, route or origin is not as it was
        in the turn before."""
        limits = {"in_flight": 1000, "streams": 2000, "replay_body": '"64KiB"', "header_bytes": '"64KiB"'}
        times = {"mint": "10s", "credential_wait": "5s", "connect": "3s", "first_byte": "5m", "idle": "5m"}
        times |= {"caller_keep_alive": "1h", "upstream_keep_alive": "15s", "max_connection_age": "10m"}
        routed, origins, routes = {}, "", ""
        for past in range(1, turn + 1):
            what = past % 13
            if what < 8:
                times[list(times)[what]] = f"{20 + past}s"
            elif what == 8:
                limits["in_flight"] = 1000 + past
            elif what == 9:
                limits["replay_body"] = f'"{64 + past}KiB"'
            elif what == 10:
                routes = f'[route.more{past}]\nmatch = {{ path = "/more" }}\nupstream = "{self.simulator.url}"\n'
                routes += f'credential = "c_{list(self.credentials)[past % len(self.credentials)]}"\n'
            elif what == 11:
                origins = f'origins = ["{self.simulator.url}", "http://{LOOPBACK}:{1000 + past}"]\n'
            else:
                routed[list(self.credentials)[past % len(self.credentials)]] = f'timeouts = {{ first_byte = "{past}m" }}\n'
        text = self.start + "[limits]\n" + "".join(f"{key} = {value}\n" for key, value in limits.items())
        text += "[timeouts]\n" + "".join(f'{key} = "{value}"\n' for key, value in times.items())
        for kind, credential in self.credentials.items():
            text += f'[route.r_{kind}]\nmatch = {{ host = "{kind.replace("_", "-")}.test" }}\n'
            text += f'upstream = "{self.simulator.url}"\ncredential = "c_{kind}"\n{routed.get(kind, "")}'
            text += f"[credential.c_{kind}]\n{credential}{origins}\n"
        written = self.config.with_suffix(".new")
        written.write_text(text + routes)
        written.rename(self.config)

    def metrics(self):
        answer = call(self.admin + "/metrics")
        self.bench.heard += answer.body
        return answer.text

    def hash(self):
        """Of the configuration in use, and whether the last one that was read was taken."""
        text = self.metrics()
        taken = re.search(r"^headset_config_last_reload_successful (\d)", text, re.MULTILINE)
        return re.search(r'headset_config_info{hash="(\w+)"}', text).group(1), taken.group(1) == "1"


def asked(state):
    """What the issuers were asked for: everything but keep-alives and refreshes, whose time
    comes by itself."""
    found = {"basicauth": [state[key] for key in ("registration_attempts", "revocations", "lookups")]}
    for kind, counts in state["kinds"].items():
        found[kind] = [counts[key] for key in ("login_attempts", "logouts", "evictions", "lockouts")]
    return found


def reloads_quiet(bench):
    """Fifty reloads that each change one limit, route or origin, under load, with a
    credential of every kind: no registration, no login, no look-up, and no call lost."""
    simulator = bench.simulator()
    headset = AllKinds(bench, simulator)
    register(bench, simulator, "standing", bench.secrets["password"], "2")
    targets = [(kind.replace("_", "-") + ".test", target) for kind, target in headset.targets.items()]
    for host, target in targets:
        answer = call(headset.url + target, headers={"Host": host})
        expect(answer.status == 200, f"{host}{target} answered {answer.status}: {answer.text[:300]}")
    before = asked(simulator.state())
    hashes, turn = [headset.hash()[0]], [0]

    def reload(_elapsed):
        seen, taken = headset.hash()
        expect(taken, f"reload {turn[0]} was refused\n{headset.process.tail()}")
        if turn[0] and seen == hashes[-1]:
            return False
        if turn[0]:
            hashes.append(seen)
        if turn[0] == RELOADS:
            return True
        turn[0] += 1
        headset.write(turn[0])
        return False

    found = load(headset.url, 5, beside=reload, targets=targets)
    after = asked(simulator.state())
    wrong = {name: outcome for name, outcome in found.seen.items() if outcome != 200}
    row = f"{len(found.seen)} calls of {len(targets)} kinds, {RELOADS} reloads; {found.figures()}"
    expect(len(set(hashes)) == RELOADS + 1, f"{len(set(hashes))} configurations were seen")
    more = [f"{kind} {before[kind]} -> {after[kind]}" for kind in before if after[kind] != before[kind]]
    expect(not more, f"{row}\nissuers were asked (attempts, ends, …): {'; '.join(more)}")
    expect(not wrong, f"{row}\n{len(wrong)} calls failed: {list(wrong.items())[:5]}")
    expect(headset.process.stop() == 0, "headset did not end with 0")
    return f"{row}; nobody was asked"


def register(bench, simulator, username, password, context_id):
    """Registers a name as somebody else would, with the administrator's bearer."""
    bearer = bench.secrets["the admin bearer"]
    answer = call(
        simulator.url + "/configuration/basicauth",
        "POST",
        {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"},
        json.dumps({
            "username": username, "password": password, "context": "ContactCenter",
            "contextId": context_id, "userRole": "Administrator",
        }),
    )  # fmt: skip
    expect(answer.status in (200, 201), f"the simulator answered {answer.status}: {answer.text[:300]}")


def rollout(bench):
    """Five processes after one another, each with a new password and no store: each call is
    served, no person is asked for, and a name that somebody else registered stays his."""
    simulator = bench.simulator()
    username = "crm_" + secrets.token_hex(4)
    target = "/configuration/cc/1/process?limit=2"
    statuses = []
    for turn in range(ROLLOUTS):
        gateway = bench.gateway(simulator, username=username, name=f"rollout-{turn}")
        statuses.append(call(gateway.url + target).status)
        state = gateway.credential()
        person = [key for key in gateway.metrics() if key.startswith("headset_credential_state") and 'refused"' in key]
        expect(gateway.metrics()[person[0]] == 0, f"process {turn + 1} was refused: {state}\n{gateway.process.tail()}")
        expect(gateway.process.stop() == 0, "headset did not end with 0")
        expect(statuses[-1] == 200, f"callers saw {statuses}\n{gateway.process.tail()}")
    keys = [key for key in simulator.state()["keys"] if key["username"] == username]
    expect(len(keys) == 1, f"there are {len(keys)} keys of that name")

    # Somebody else's: refused, and left as it is.
    theirs = secrets.token_hex(16)
    bench.secrets["the other's password"] = theirs
    register(bench, simulator, "theirs", theirs, "1")
    before = [key for key in simulator.state()["keys"] if key["username"] == "theirs"]
    gateway = bench.gateway(simulator, username="theirs", name="foreign", live=False)
    status = call(gateway.url + target).status
    expect(status == 503, f"a name of somebody else's was used: {status}")
    after = [key for key in simulator.state()["keys"] if key["username"] == "theirs"]
    expect(after == before, f"it was touched: {before} -> {after}")
    pair = base64.b64encode(f"theirs:{theirs}".encode()).decode()
    status = call(simulator.url + target, headers={"Authorization": f"Basic {pair}"}).status
    expect(status == 200, f"its owner is answered {status}")
    gateway.process.stop()
    state = simulator.state()
    return (
        f"{ROLLOUTS} processes with {ROLLOUTS} passwords, all served, no person; "
        f"{state['registrations']} registrations, {state['replacements']} replacements; a foreign name untouched"
    )
