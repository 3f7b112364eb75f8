"""Pods played with real processes, as the kubelet runs them: deploy/kubernetes/job.yaml is read, its
sidecar and its application are started, probed and stopped in the order that Kubernetes promises
(KEP-753). There is no kubelet here; what is tried is that headset does its part of it."""

import os
import secrets
import signal
import socket
import sys
import threading
import time

from harness import LOOPBACK, PATIENCE, Skipped, call, expect, free_port, until
from manifests import EXAMPLE, PLAIN, pod, read, sidecar

APPLICATION = """
import os, sys, time, urllib.request
base = os.environ["CONTACT_CENTER_URL"]
def call():
    with urllib.request.urlopen(base + "/configuration/cc/1/process", timeout=60) as answer:
        assert answer.status == 200, answer.status
for _ in range(3):
    call()
print("three calls", flush=True)
# One more when the file is there: a test may do something between.
while len(sys.argv) > 2 and not os.path.exists(sys.argv[2]):
    time.sleep(0.05)
call()
print("done", flush=True)
if "HEADSET_ADMIN" in os.environ:
    fields = {"Authorization": "Bearer " + open(os.environ["ADMIN_TOKEN_FILE"]).read()}
    request = urllib.request.Request(os.environ["HEADSET_ADMIN"] + "/shutdown", method="POST", headers=fields)
    assert urllib.request.urlopen(request, timeout=60).status == 202
sys.exit(int(sys.argv[1]))
"""


class Kubelet:
    """One pod of `job.yaml`, played."""

    def __init__(self, bench, simulator, name, everywhere="0.0.0.0"):
        self.bench, self.name = bench, name
        [job] = [one for one in read((PLAIN / "job.yaml").read_text()) if one["kind"] == "Job"]
        self.spec = pod(job)["spec"]
        self.container = sidecar(job)
        self.folder = bench.folder / name
        self.folder.mkdir()
        self.app, self.admin = free_port(), free_port()
        password, _ = bench.secret(f"{name}-password")
        bench.secrets[f"the Basic credential of {name}"] = f"crm_sync:{password}"
        mounted = self.folder / "secrets"
        mounted.mkdir()
        (mounted / "password").write_text(password)
        (mounted / "admin-bearer").write_text(simulator.bearer_path.read_text())
        for file in mounted.iterdir():
            file.chmod(0o600)
        # The ConfigMap and the mounts, on this machine.
        toml = (EXAMPLE / "headset.toml").read_text()
        for before, after in {
            "https://cms.example.com:8443": simulator.url,
            "127.0.0.1:8080": f"{LOOPBACK}:{self.app}",
            # From outside the pod: here that is only another address of loopback.
            "0.0.0.0:9464": f"{everywhere}:{self.admin}",
            "/run/secrets/headset": str(mounted),
        }.items():
            expect(before in toml, f"headset.toml has no {before}")
            toml = toml.replace(before, after)
        self.config = self.folder / "headset.toml"
        self.config.write_text(toml)
        self.starts = 0
        self.stopping = False

    def start_sidecar(self):
        self.starts += 1
        arguments = [str(self.config) if one == "/etc/headset/headset.toml" else one for one in self.container["args"]]
        expect(str(self.config) in arguments, f"the sidecar is started with {arguments}")
        argv = [self.bench.binary, *arguments]
        self.headset = self.bench.start(f"{self.name}-headset-{self.starts}", argv)

    def probe(self, which, address=LOOPBACK):
        """Whether a probe of the manifest passes."""
        get = self.container[which]["httpGet"]
        return 200 <= call(f"http://{address}:{self.admin}{get['path']}").status < 400

    def keep(self):
        """`restartPolicy: Always`: what ends is started again until the pod is stopped."""
        while not self.stopping:
            if self.headset.ended():
                self.start_sidecar()
            time.sleep(0.05)

    def run(self, *application, during=None):
        """The whole life of the pod; the exit codes of application and sidecar."""
        self.start_sidecar()
        until("the startup probe", lambda: self.probe("startupProbe"), process=self.headset)
        keeping = threading.Thread(target=self.keep, daemon=True)
        keeping.start()
        [container] = self.spec["containers"]
        [variable] = [one for one in container["env"] if one["name"] == "CONTACT_CENTER_URL"]
        url = variable["value"].replace("127.0.0.1:8080", f"{LOOPBACK}:{self.app}")
        process = self.bench.start(
            f"{self.name}-application",
            [sys.executable, "-c", APPLICATION, *map(str, application)],
            environment={"CONTACT_CENTER_URL": url},
        )
        if during:
            during(self, process)
        code = process.child.wait(2 * PATIENCE)
        # Only when every application has ended are the sidecars stopped, by SIGTERM first.
        self.stopping = True
        keeping.join()
        expect(not self.headset.ended(), f"headset ended before it was told: {self.headset.ended()}")
        expect(self.probe("livenessProbe"), "headset was not well at the end")
        begun = time.monotonic()
        self.headset.child.send_signal(signal.SIGTERM)
        ended = self.headset.child.wait(PATIENCE)
        self.stopped = time.monotonic() - begun
        return code, ended


def job(bench):
    """A Job ends when its application has, with its outcome; headset ends with 0."""
    simulator = bench.simulator()
    well = Kubelet(bench, simulator, "well")
    codes = well.run(0)
    expect(codes == (0, 0), f"application and headset ended with {codes}\n{well.headset.tail()}")
    # The second pod registers the name again, with another password.
    failing = Kubelet(bench, simulator, "failing")
    codes = failing.run(3)
    expect(codes == (3, 0), f"application and headset ended with {codes}\n{failing.headset.tail()}")

    # headset is killed while the application runs: it is started again, and the next call passes.
    go = bench.folder / "go"

    def kill(kubelet, application):
        until("the first calls", lambda: b"three calls" in application.written(), process=application)
        os.kill(kubelet.headset.pid, signal.SIGKILL)
        until("a second headset", lambda: kubelet.starts == 2 and kubelet.probe("startupProbe"))
        go.touch()

    killed = Kubelet(bench, simulator, "killed")
    codes = killed.run(0, go, during=kill)
    expect(codes == (0, 0), f"application and headset ended with {codes}\n{killed.headset.tail()}")
    expect(killed.starts == 2, f"headset was started {killed.starts} times")
    before_sidecars(bench, simulator)
    return (
        "application 0, headset 0; application 3, headset 0; headset killed between and started again: 0, 0; "
        "as an ordinary container, stopped by the application: 0, 0; "
        f"headset ended {well.stopped:.1f} s after SIGTERM"
    )


def before_sidecars(bench, simulator):
    """Without native sidecars headset is an ordinary container, and the application's last act is
    to stop it, as docs/kubernetes.md says: the pod has succeeded when both have ended with 0."""
    kubelet = Kubelet(bench, simulator, "old")
    # In a header field: no other characters than such a token has.
    _, path = bench.secret("admin-token", secrets.token_hex(16))
    bind = f'bind = "0.0.0.0:{kubelet.admin}"'
    toml = kubelet.config.read_text()
    expect(bind in toml, f"no {bind} in {toml}")
    kubelet.config.write_text(toml.replace(bind, f'{bind}\ntoken = {{ file = "{path}" }}'))
    kubelet.start_sidecar()
    until("the startup probe", lambda: kubelet.probe("startupProbe"), process=kubelet.headset)
    application = bench.start(
        "old-application",
        [sys.executable, "-c", APPLICATION, "0"],
        environment={
            "CONTACT_CENTER_URL": f"http://{LOOPBACK}:{kubelet.app}",
            "ADMIN_TOKEN_FILE": str(path),
            "HEADSET_ADMIN": f"http://{LOOPBACK}:{kubelet.admin}",
        },
    )
    codes = application.child.wait(2 * PATIENCE), kubelet.headset.child.wait(PATIENCE)
    expect(codes == (0, 0), f"application and headset ended with {codes}\n{application.tail()}{kubelet.headset.tail()}")


def ipv6(bench):
    """With `[::]` as docs/kubernetes.md says, probes and metrics are there by either family."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        raise Skipped("no IPv6 on loopback") from None
    kubelet = Kubelet(bench, bench.simulator(), "six", everywhere="[::]")
    kubelet.start_sidecar()
    for address in ("[::1]", LOOPBACK):
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            until(f"{probe} at {address}", lambda: kubelet.probe(probe, address), process=kubelet.headset)
        scraped = call(f"http://{address}:{kubelet.admin}/metrics")
        expect(scraped.status == 200 and "headset_credential_state" in scraped.text, f"{address}: {scraped.text[:200]}")
    expect(kubelet.headset.stop() == 0, kubelet.headset.tail())
    return "bound to [::], headset answers probes and Prometheus at ::1 and 127.0.0.1"
