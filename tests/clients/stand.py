#!/usr/bin/env python3
"""A simulated contact center, headset before it, a caller, and a Prometheus with the rules that ship:
brought up together to look at, until Ctrl-C. `./test --stand` builds and installs what it needs."""

import argparse
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import Bench, Failed, Skipped, call
from page import TARGET
from situations import Prometheus

# Calls a second.
RATE = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="headset")
    parser.add_argument("--simulator", help="a headset with the demo (default: the binary)")
    told = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="headset-stand-"))
    bench = Bench("stand", Path(told.binary).resolve(), folder / "stand")
    bench.simulating = Path(told.simulator or told.binary).resolve()
    over = threading.Event()
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, lambda *_: over.set())
    try:
        with bench:
            stand(bench, over)
    except (Failed, Skipped) as why:
        print(why, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def stand(bench, over):
    simulator = bench.simulator(bearer_life="30d")
    gateway = bench.gateway(simulator, life="10m")
    instance = gateway.admin.removeprefix("http://")
    prometheus = Prometheus(bench, [instance])
    print(
        f"""
page          {gateway.admin}/
application   {gateway.url}/configuration/cc/1/process
metrics       {gateway.admin}/metrics
alerts        {prometheus.url}/alerts
queries       {prometheus.url}/graph?g0.expr=headset_credential_state
dashboard     deploy/grafana/headset.json, to import into a Grafana whose Prometheus is {prometheus.url}

What may befall it, for instance:
  curl -d '{{"registration_status": 403, "registration_status_next": 1000}}' {simulator.url}/_sim/faults
  curl -d '{{"delay_ms": 2000}}' {simulator.url}/_sim/faults
  curl -X DELETE {simulator.url}/_sim/faults
  kill {simulator.process.pid}        # the contact center
  kill -9 {gateway.process.pid}     # headset

Ctrl-C ends all of it.""",
        flush=True,
    )
    while not over.wait(1 / RATE):
        try:
            call(gateway.url + TARGET)
        except OSError:
            pass


if __name__ == "__main__":
    sys.exit(main())
