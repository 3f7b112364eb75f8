"""A real Prometheus scrapes headset and answers a query."""

import shutil
import time
import urllib.parse

from harness import Skipped, call, expect, free_port, until


def prometheus(bench):
    """Debian's Prometheus learns when the credential dies."""
    program = shutil.which("prometheus")
    if not program:
        raise Skipped("prometheus is missing; apt-get install prometheus")
    simulator = bench.simulator()
    gateway = bench.gateway(simulator)
    call(gateway.url + "/configuration/cc/1/process?limit=2")
    target = gateway.admin.removeprefix("http://")
    config = bench.folder / "prometheus.yml"
    config.write_text(
        "global: { scrape_interval: 1s, scrape_timeout: 1s }\n"
        "scrape_configs:\n"
        "  - job_name: headset\n"
        f"    static_configs: [{{ targets: ['{target}'] }}]\n"
    )
    port = free_port()
    process = bench.start("prometheus", [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={bench.folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ])  # fmt: skip

    def query(expression):
        url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        answer = call(url)
        return answer.json()["data"]["result"] if answer.status == 200 else None

    name = "headset_credential_expiry_timestamp_seconds"
    rows = until(f"{name} in Prometheus", lambda: query(name), seconds=30, process=process)
    expect(len(rows) == 1, f"{len(rows)} series of {name}: {rows}")
    labels, (_, value) = rows[0]["metric"], rows[0]["value"]
    expect(labels.get("credential") == "cms_key", f"the series is labelled {labels}")
    left = float(value) - time.time()
    expect(left > 0, f"the credential's expiry {value} is not in the future")
    up = until("a successful scrape", lambda: query('up{job="headset"} == 1'), process=process)
    expect(len(up) == 1, f"up is {up}")
    process.stop()
    gateway.stop()
    return f"{name}{{credential=\"cms_key\"}} is {left / 86400:.1f} days ahead"
