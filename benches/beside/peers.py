"""The stage (upstreams, the simulated contact center, certificates) and who stands on it.

Every peer does the same: it sets one `Authorization`, keeps connections to the upstream, and
has one worker. Beyond that nginx, HAProxy and Envoy have what makes them fast here; headset
has its defaults.
"""

import base64
import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from machine import LOAD_CORE, LOOPBACK, PROXY_CORE, Wrong, many_files, start, stop

USERNAME = "crm_sync"
BODY = "x" * 1024
BIG = 64 << 20
TEMPORARY = " ".join(f"{kind}_temp_path tmp;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


def free_port():
    """Below the range of outgoing connections, so that none of them takes it meanwhile."""
    while True:
        port = 15000 + secrets.randbelow(17000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port


def get(port, path="/"):
    """The status line and the body of one call on a connection of its own."""
    with socket.create_connection((LOOPBACK, port), timeout=5) as stream:
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        held = b""
        while piece := stream.recv(65536):
            held += piece
    head, _, body = held.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode("latin-1"), body.decode("latin-1")


class Stage:
    """What stands around the peers. Use it as a context manager."""

    def __init__(self, folder, tools):
        self.folder, self.tools = folder, tools
        self.children = []
        self.password = secrets.token_hex(12)
        self.basic = "Basic " + base64.b64encode(f"{USERNAME}:{self.password}".encode()).decode()
        self.up, self.up_tls, self.sink = free_port(), free_port(), free_port()

    def __enter__(self):
        many_files()
        os.sched_setaffinity(0, {LOAD_CORE})
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        certificate(self.folder)
        with open(self.folder / "big", "wb") as big:
            big.truncate(BIG)
        self.start_upstream()
        sink = Path(__file__).with_name("sink.py")
        self.begin("sink", ["python3", sink, self.sink, self.basic])
        self.bearer = self.folder / "admin-bearer"
        argv = [self.tools.simulator, "simulate", "--bind", f"{LOOPBACK}:0", "--write-bearer", self.bearer]
        self.begin("simulator", argv)
        said = self.wait_for("the simulator", lambda: re.search(r"http://127\.0\.0\.1:\d+", self.log("simulator")))
        self.issuer = said.group(0)
        self.wait_for("the bearer", lambda: self.bearer.is_file() and self.bearer.read_text())
        self.wait_for("the sink", lambda: socket.create_connection((LOOPBACK, self.sink), 1).close() or True)
        self.wait_for("the upstream", lambda: " 401 " in get(self.up)[0])
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            stop(child)

    def begin(self, name, argv):
        self.children.append(start(argv, LOAD_CORE, self.folder / f"{name}.log"))

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait_for(self, what, condition, seconds=15):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if seen := condition():
                    return seen
            time.sleep(0.01)
        raise Wrong(f"waited {seconds} s for {what}")

    def start_upstream(self):
        # Else its worker is somebody who may not read the folder.
        as_root = "user root;" if os.getuid() == 0 else ""
        config = self.folder / "upstream.conf"
        config.write_text(
            f"""daemon off; pid upstream.pid; worker_processes 1; worker_rlimit_nofile 20000; {as_root}
events {{ worker_connections 10000; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; {TEMPORARY} default_type text/plain;
    server {{
        listen {LOOPBACK}:{self.up} backlog=4096;
        listen {LOOPBACK}:{self.up_tls} ssl backlog=4096;
        ssl_certificate cert.pem; ssl_certificate_key key.pem; ssl_protocols TLSv1.3;
        root {self.folder};
        location / {{
            if ($http_authorization != "{self.basic}") {{ return 401; }}
            return 200 "{BODY}";
        }}
        location = /big {{ if ($http_authorization != "{self.basic}") {{ return 401; }} }}
    }}
}}
"""
        )
        self.begin("upstream", ["nginx", "-p", self.folder, "-c", config, "-e", self.folder / "upstream.log"])

    @contextlib.contextmanager
    def serve(self, peer, kind="plain", core=PROXY_CORE, **how):
        """Runs `peer` until it answers 200; yields it."""
        place = Path(self.folder / f"{peer.name}-{secrets.token_hex(4)}")
        place.mkdir()
        running = Running(None, free_port(), place / "app.sock", place)
        argv = peer.command(self, running, kind, **how)
        running.child = start(argv, core, place / "log")
        try:
            end = time.monotonic() + 15
            seen = ("", "")
            while not (" 200 " in seen[0] or (kind == "h2" and seen[0])):
                if time.monotonic() > end or running.child.poll() is not None:
                    log = (place / "log").read_text(errors="replace")[-400:]
                    raise Wrong(f"{peer.name} did not answer 200 but {seen}: {log}")
                with contextlib.suppress(OSError):
                    # A port that speaks only HTTP/2 tells nothing but that it is there.
                    seen = get(running.port) if kind != "h2" else (str(probe(running.port)), "")
                time.sleep(0.005)
            if kind not in ("h2", "upload") and seen[1] != BODY:
                raise Wrong(f"{peer.name} changed the body of an answer")
            yield running
        finally:
            stop(running.child)
            shutil.rmtree(place, ignore_errors=True)

    def target(self, kind):
        """Where a peer sends calls of this kind."""
        return {"tls": self.up_tls, "upload": self.sink}.get(kind, self.up)


def probe(port):
    socket.create_connection((LOOPBACK, port), 1).close()
    return "listens"


@dataclass
class Running:
    """A peer that serves."""

    child: subprocess.Popen | None
    port: int
    unix: Path
    folder: Path

    @property
    def pid(self):
        return self.child.pid


class Nginx:
    name = "nginx"

    def command(self, stage, at, kind):
        upstream, h2 = stage.target(kind), " http2" if kind == "h2" else ""
        tls = ""
        if kind == "tls":
            tls = (
                f"proxy_ssl_trusted_certificate {stage.folder}/ca.pem; proxy_ssl_verify on; proxy_ssl_name localhost; "
                "proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3; proxy_ssl_session_reuse on;"
            )
        config = at.folder / "nginx.conf"
        config.write_text(
            f"""daemon off; pid nginx.pid; worker_processes 1; worker_rlimit_nofile 20000;
events {{ worker_connections 10000; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; {TEMPORARY}
    client_max_body_size 0; client_body_buffer_size 512k; proxy_request_buffering off; proxy_max_temp_file_size 0;
    upstream contact_center {{
        server {LOOPBACK}:{upstream}; keepalive 2000; keepalive_requests 1000000000; keepalive_timeout 1h;
    }}
    server {{
        listen {LOOPBACK}:{at.port}{h2} backlog=4096;
        listen unix:{at.unix};
        location / {{
            proxy_pass http{"s" if tls else ""}://contact_center;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "{stage.basic}";
            {tls}
        }}
    }}
}}
"""
        )
        return ["nginx", "-p", at.folder, "-c", config, "-e", at.folder / "log"]


class HAProxy:
    name = "haproxy"

    def command(self, stage, at, kind):
        tls = ""
        if kind == "tls":
            tls = f"ssl verify required ca-file {stage.folder}/ca.pem sni str(localhost) ssl-min-ver TLSv1.3"
        config = at.folder / "haproxy.cfg"
        config.write_text(
            f"""global
  nbthread 1
  maxconn 8000
defaults
  mode http
  maxconn 8000
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  http-reuse always
frontend in
  bind {LOOPBACK}:{at.port} backlog 4096{" proto h2" if kind == "h2" else ""}
  bind unix@{at.unix}
  default_backend contact_center
backend contact_center
  http-request set-header Authorization "{stage.basic}"
  server one {LOOPBACK}:{stage.target(kind)} pool-purge-delay 600s {tls}
"""
        )
        return ["haproxy", "-db", "-f", config]


class Envoy:
    name = "envoy"

    def command(self, stage, at, kind):
        tls = ""
        if kind == "tls":
            tls = f"""
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context:
          tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
          validation_context: {{ trusted_ca: {{ filename: "{stage.folder}/ca.pem" }} }}"""
        config = at.folder / "envoy.yaml"
        config.write_text(
            f"""static_resources:
  listeners:
  - name: in
    address: {{ socket_address: {{ address: {LOOPBACK}, port_value: {at.port} }} }}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: AUTO
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [ {{ match: {{ prefix: "/" }}, route: {{ cluster: contact_center, timeout: 0s }} }} ]
              request_headers_to_add:
              - header: {{ key: Authorization, value: "{stage.basic}" }}
                append_action: OVERWRITE_IF_EXISTS_OR_ADD
          http_filters:
          - name: router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: contact_center
    type: STATIC
    circuit_breakers:
      thresholds: [ {{ max_connections: 10000, max_pending_requests: 10000, max_requests: 10000 }} ]
    load_assignment:
      cluster_name: contact_center
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {LOOPBACK}, port_value: {stage.target(kind)} }} }} }}{tls}
"""
        )
        argv = [stage.tools.envoy, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        return [*argv, "--use-dynamic-base-id"]


class Headset:
    name = "headset"

    def command(self, stage, at, kind, workers=None, static=False):
        tls = f'[upstream_tls]\nca = "{stage.folder}/ca.pem"\n' if kind == "tls" else ""
        password = f'{{ file = "{stage.folder}/password" }}'
        credential = f"""kind = "basicauth"
url = "{stage.issuer}/configuration/basicauth"
username = "{USERNAME}"
password = {password}
context_id = "1"
admin_bearer = {{ file = "{stage.bearer}" }}
"""
        if static:
            credential = f'kind = "static"\nbasic = {{ username = "{USERNAME}", password = {password} }}\n'
        door = f'[listener.door]\nbind = "unix:{at.unix}"\n' if kind == "unix" else ""
        config = at.folder / "headset.toml"
        config.write_text(
            f"""[listener.app]
bind = "{LOOPBACK}:{at.port}"
{door}[admin]
bind = "{LOOPBACK}:0"
[route.all]
upstream = "http{"s" if tls else ""}://localhost:{stage.target(kind)}"
credential = "it"
{f"[workers]{chr(10)}count = {workers}" if workers else ""}
{tls}[credential.it]
{credential}"""
        )
        return [stage.tools.headset, "run", "--config", config]


PEERS = {peer.name: peer for peer in (Nginx(), HAProxy(), Envoy(), Headset())}


def certificate(folder):
    """An authority, and a certificate of its for localhost."""
    quiet = dict(check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    subprocess.run(
        ["openssl", "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=compare", *ca], **quiet
    )
    subprocess.run(
        ["openssl", "req", *key, "-keyout", "key.pem", "-out", "cert.csr", "-subj", "/CN=localhost"], **quiet
    )
    (folder / "extensions").write_text("subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")
    sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extensions", "-out", "cert.pem"]
    subprocess.run(["openssl", "x509", "-req", "-in", "cert.csr", *sign], **quiet)
