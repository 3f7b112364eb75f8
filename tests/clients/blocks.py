"""Every block of commands and of client code that README.md and the book show is run as it is
written; only addresses, paths of secrets and the contact center's host are those of this check. A
block that runs nowhere is a failure, and one that another check runs, or that needs a cluster or a
registry, says so in `ELSEWHERE`."""

import os
import re
import shutil
import sys
from pathlib import Path

from harness import LOOPBACK, PATIENCE, Skipped, call, expect, free_port, until

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("sh", "python", "js", "java")
LIST = "/configuration/cc/1/process"
WELL = '"http_code":200'
CLUSTER = "needs a cluster; `manifest` judges what is applied"

# Page and how the block begins: who runs it, or why nobody does.
ELSEWHERE = {
    ("README.md", "cargo run -- demo"): "check `demo`; `./test` is what runs this",
    ("docs/tutorial.md", ""): "tests/integration/stories/tutorial.rs, line by line",
    ("docs/kubernetes.md", "kubectl create secret generic headset --dry-run"): "check `manifest`",
    ("docs/kubernetes.md", "kubectl create secret generic headset --from-file"): CLUSTER,
    ("docs/kubernetes.md", "kubectl label"): CLUSTER,
    ("docs/kubernetes.md", "helm install"): "needs a cluster; `chart` renders it",
    ("docs/performance.md", "benches/compare"): "takes 12 minutes of a machine without other work",
    ("docs/releasing.md", "deploy/release"): "takes half an hour; checks `image` and `package` make its parts",
    ("docs/releasing.md", "deploy/profile"): "builds and trains for 5 minutes; writes into the repository",
    ("docs/releasing.md", "skopeo"): "needs a registry and a container engine",
    ("docs/forward.md", "HTTPS_PROXY"): "check `interception`, with twenty programs",
}


class Stand:
    """A contact center, and a folder in which a reader of the pages would be."""

    def __init__(self, bench):
        self.bench = bench
        self.simulator = bench.simulator()
        self.home = bench.folder / "home"
        self.secrets = self.home / ".config" / "headset"
        self.secrets.mkdir(parents=True)
        bearer = self.simulator.bearer_path.read_text()
        for name in ("password", "api-token", "other-secret", "bearer"):
            value, _ = bench.secret(name, name + "-" + os.urandom(12).hex())
            self.write(name, value)
        self.write("admin-bearer", bearer)
        # `headset` on the path, whose simulator is there too.
        programs = bench.folder / "bin"
        programs.mkdir()
        (programs / "headset").symlink_to(bench.simulating)
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
            "NO_PROXY": "*",
        }
        self.ports()

    def ports(self):
        """Free ones for the next headset."""
        self.app, self.admin = (f"{LOOPBACK}:{free_port()}" for _ in range(2))

    def write(self, name, value):
        file = self.secrets / name
        file.touch(mode=0o600)
        file.write_text(value)

    def here(self, text):
        """`text` with what is of this check."""
        for before, after in {
            "http://127.0.0.1:9900": self.simulator.url,
            "https://cms.example.com:8443": self.simulator.url,
            "https://api.other.example": self.simulator.url,
            "127.0.0.1:9901": f"{LOOPBACK}:{free_port()}",
            "127.0.0.1:8080": self.app,
            "127.0.0.1:9464": self.admin,
            "/run/secrets/headset": str(self.secrets),
            "/home/alice/.config/headset": str(self.secrets),
            "/run/user/1000": str(self.home),
            "/etc/headset": str(self.home),
            "python3 ": f"{sys.executable} ",
            # Paths that the simulated contact center has; it answers 200 to a credential alone.
            "/v1/cc-list": LIST,
            "/v2/accounts/acme/contacts/upload": LIST,
        }.items():
            text = text.replace(before, after)
        return text

    def configure(self, page, holding="[credential.", admin=True):
        """headset.toml of the first configuration of `page` with `holding`."""
        found = [block for language, block in shown(page) if language == "toml" and holding in block]
        text = self.here(found[0])
        if admin:
            text += f'\n[admin]\nbind = "{self.admin}"\n'
        (self.home / "headset.toml").write_text(text)

    def run(self, block, code=0, typed=None):
        """Runs `block` in a shell that ends with its first failure; returns what it wrote."""
        name = f"block-{len(self.bench.processes)}"
        if typed is not None:
            (self.bench.folder / f"{name}.typed").write_text(typed)
            block = f"exec <'{self.bench.folder}/{name}.typed'\n{block}"
        process = self.bench.run(name, ["sh", "-euc", f"cd '{self.home}'\n{self.here(block)}"], environment=self.environment)
        expect(process.ended() == f"exit code {code}", f"{block}\n{process.ended()}\n{process.tail(30)}")
        return process.written().decode("utf-8", "replace")

    def lasting(self, block, url=None, environment=None):
        """Starts a block of one command that goes on; until `url` is answered 200."""
        name = f"block-{len(self.bench.processes)}"
        # The words of a variable before a command are a shell's, so `env` stands between.
        command = f"cd '{self.home}'\nexec env {self.here(block).strip()}"
        process = self.bench.start(name, ["sh", "-euc", command], environment={**self.environment, **(environment or {})})
        until(block, lambda: call(url or f"http://{self.admin}/readyz?strict").status == 200, process=process)
        return process


def shown(page):
    """Language and text of each block of `page`, in order."""
    text = (ROOT / page).read_text()
    found = re.finditer(r"^( *)```(\w*)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [(one[2], re.sub(f"^{one[1]}", "", one[3], flags=re.MULTILINE)) for one in found]


def ended(process):
    """Stops what `lasting` started."""
    expect(process.stop() == 0, f"it ended with {process.ended()}\n{process.tail()}")


def readme(stand, blocks):
    """Five minutes with your contact center."""
    bearer, run, curl, *snippets, operate = blocks
    stand.run(bearer, typed=(stand.secrets / "admin-bearer").read_text() + "\n")
    for name in ("admin-bearer", "password"):
        mode = (stand.home / name).stat().st_mode & 0o777
        expect(mode == 0o600, f"{name} has the mode {mode:o}")
    stand.bench.secrets["the password of README"] = (stand.home / "password").read_text().strip()
    stand.configure("README.md")
    process = stand.lasting(run)
    expect(WELL in stand.run(curl), "the call did not get its credential")
    said = stand.run(operate)
    expect("cms_key" in said and "headset_credential_state" in said, f"{operate}\n{said}")
    clients(stand, snippets)
    ended(process)


def operating(stand, blocks):
    """Commands that ask a running headset; the last line of the first block stops it."""
    commands, retry, traces = blocks
    stand.configure("README.md")
    process = stand.lasting(traces)
    ended(process)
    stand.ports()
    stand.configure("README.md")
    process = stand.lasting("headset run --config headset.toml")
    stand.run(retry)
    lines = commands.splitlines()
    watching = next(line for line in lines if "--watch" in line)
    watch = stand.bench.start("watch", ["sh", "-euc", "exec " + watching], environment=stand.environment)
    until("a second look", lambda: watch.stdout.read_bytes().count(b"live") > 1, process=watch)
    watch.kill()
    # What is said to a pod is said to its binary.
    last = next(line for line in lines if line.startswith("kubectl exec"))
    expect(last.endswith("-- /headset status"), last)
    rest = [line for line in lines if line not in (watching, last)]
    said = stand.run("\n".join(rest))
    for part in ("cms_key", '"state":"live"', "everything_else"):
        expect(part in said, f"{part} is not in\n{said}")
    until("the end that was asked for", process.ended, process=None)
    expect(process.ended() == "exit code 0", process.tail())


def simulator(stand, blocks):
    """The simulated contact center, started and broken on demand."""
    start, broken = blocks
    plain, tls = start.splitlines()
    port = free_port()
    process = stand.lasting(f"{plain} --bind {LOOPBACK}:{port}", f"http://{LOOPBACK}:{port}/_sim/state")
    process.stop()
    name = stand.bench.start("tls", ["sh", "-euc", f"cd '{stand.home}'\nexec {stand.here(tls)}"], environment=stand.environment)
    until("its certificate", (stand.home / "ca.pem").exists, process=name)
    name.stop()
    stand.run(broken)


def bearer(stand, blocks):
    [write] = blocks
    stand.run(write, typed="eyJ.a.b\n")
    expect((stand.home / "admin-bearer").read_text() == "eyJ.a.b\n", "the bearer is not in its file")
    expect((stand.home / "admin-bearer").stat().st_mode & 0o077 == 0, "others can read the bearer")


def client_page(stand, blocks):
    """curl, the snippets, and the application that headset starts."""
    curl, python, js, java, started = blocks
    (stand.home / "contacts.csv").write_text("name,phone1\nA,+911\n")
    stand.configure("README.md")
    process = stand.lasting("headset run --config headset.toml")
    expect(WELL in stand.run(curl), "a call did not get its credential")
    expect(stand.simulator.state()["unauthorised"] == 0, "the upload did not get its credential")
    clients(stand, [python, js, java])
    ended(process)
    application(stand, started)


def application(stand, block):
    """headset starts app.py, and ends as it does."""
    stand.ports()
    stand.configure("README.md")
    (stand.home / "app.py").write_text(
        "import os, urllib.request\n"
        f"handler = urllib.request.ProxyHandler({{'http': os.environ['HTTP_PROXY']}})\n"
        f"answer = urllib.request.build_opener(handler).open('{stand.simulator.url}{LIST}')\n"
        "print(answer.status)\n"
    )
    said = stand.run(block)
    expect("200" in said, said)


def clients(stand, snippets):
    """Client code, in what a program of that language has around it."""
    python, js, java = snippets
    stand.run(f"cat >client.py <<'END'\nimport requests\n{python}END\npython3 client.py")
    if not shutil.which("node") or not shutil.which("javac"):
        raise Skipped("node or javac is missing; install nodejs and default-jdk-headless")
    stand.run(f"cat >client.mjs <<'END'\n{js}END\nnode client.mjs")
    begin = "" if "var client" in java else "var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();\n"
    # README's is one expression, to be read beside the others.
    begin += "" if "var answer" in java else "var answer = "
    stand.run(
        "cat >Client.java <<'END'\nimport java.net.URI;\nimport java.net.http.*;\n"
        "import static java.net.http.HttpResponse.BodyHandlers.ofString;\n"
        f"class Client {{ public static void main(String[] words) throws Exception {{\n{begin}{java}"
        'if (answer.statusCode() != 200) throw new Exception("" + answer.statusCode());\n}}\nEND\njava Client.java'
    )


def laptop(stand, blocks):
    """No file but secrets; and a socket."""
    run, curl = blocks
    binds = {"HEADSET_LISTENER__APP__BIND": stand.app, "HEADSET_ADMIN__BIND": stand.admin}
    ended(stand.lasting(run, environment=binds))
    stand.ports()
    stand.configure("docs/howto/laptop.md")
    process = stand.lasting("headset run --config headset.toml")
    expect(WELL in stand.run(curl), "over the socket the call did not get its credential")
    ended(process)


def recipe(stand, blocks):
    """The configuration is well; the simulated contact center is not its vendor, and `mint` says so."""
    check, mint = blocks[0].splitlines()
    stand.configure("docs/howto/recipe.md")
    stand.run(check)
    said = stand.run(mint, code=75)
    expect("POST " in said and "/auth/v1/token" in said and "404" in said, said)


def run_command(stand, blocks):
    """The application that headset starts, and a local CA that is kept."""
    started, ca = blocks
    application(stand, started)
    stand.configure("docs/howto/run-command.md", "[listener.proxy]")
    said = stand.run(ca)
    expect("api.exotel.com" in said, said)
    expect("BEGIN CERTIFICATE" in (stand.home / "ca.pem").read_text(), "no certificate")


PAGES = {
    "README.md": readme,
    "docs/operating.md": operating,
    "docs/simulator.md": simulator,
    "docs/howto/bearer.md": bearer,
    "docs/howto/clients.md": client_page,
    "docs/howto/laptop.md": laptop,
    "docs/howto/recipe.md": recipe,
    "docs/howto/run-command.md": run_command,
}


def blocks(bench):
    """Runs what stands in README.md and the book; a block that nothing runs is a failure."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    counted, used = 0, set()
    for page in (str(path.relative_to(ROOT)) for path in pages):
        mine = []
        for language, block in shown(page):
            if language not in LANGUAGES:
                continue
            rows = [row for row in ELSEWHERE if row[0] == page and block.startswith(row[1])]
            used.update(rows)
            if not rows:
                mine.append(block)
        expect(bool(mine) == (page in PAGES), f"{page}: nothing runs {mine}; give it a row in PAGES or ELSEWHERE")
        if mine:
            counted += len(mine)
            folder = bench.folder / page.replace("/", "-")
            inner = type(bench)(bench.name, bench.binary, folder)
            inner.simulating = bench.simulating
            with inner:
                PAGES[page](Stand(inner), mine)
            bench.processes += inner.processes
            bench.secrets.update({f"{page}: {what}": value for what, value in inner.secrets.items()})
    left = set(ELSEWHERE) - used
    expect(not left, f"no such blocks: {left}")
    return f"{counted} blocks of {len(PAGES)} pages run as they are written; {len(ELSEWHERE)} elsewhere"
