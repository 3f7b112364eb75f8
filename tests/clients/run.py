#!/usr/bin/env python3
"""Runs the outside checks: headset's release binary against real clients and servers.

`./test` builds what they need and calls this. By hand:
    run.py --binary target/release/headset [--only NAME]... [--list]
Ends with `N passed, N failed`. A check that cannot run here is skipped with a line
that says why; with CI=true that is a failure.
"""

import argparse
import concurrent.futures
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import clients
import conformance
import deploy
import faults
import grpc_check
import leaks
import load
import scrape
import speakers
import streams
import upgrades

from harness import Bench, Failed, Skipped

# Name, function, and whether it is quiet enough to run beside others: checks that
# measure time or memory under load have the machine to themselves.
CHECKS = [
    ("manifest", deploy.manifest, True),
    ("config-map", deploy.config_map, True),
    ("documentation", deploy.documentation, True),
    ("rules", deploy.rules, True),
    ("static", deploy.static, True),
    ("demo", clients.demo, True),
    ("curl", clients.curl, True),
    ("exotelpy", clients.exotelpy, True),
    ("exotel", clients.exotel, True),
    ("python", speakers.python, True),
    ("node", speakers.node, True),
    ("nghttp", speakers.nghttp, True),
    ("prometheus", scrape.prometheus, True),
    ("push-stream", streams.push_stream, True),
    ("faults-killed", faults.killed, True),
    ("faults-before", faults.before, True),
    ("faults-during", faults.during, True),
    ("faults-after", faults.after, True),
    ("faults-stalls", faults.stalls, True),
    ("faults-reloads", faults.reloads, True),
    ("faults-drain", faults.drain, True),
    ("websocket", upgrades.websocket, True),
    ("expect", upgrades.continues, True),
    ("grpc", grpc_check.grpc_calls, True),
    ("http2-conformance", conformance.http2, True),
    ("upload", streams.upload, False),
    ("herd", load.herd, False),
    ("short-life", load.short_life, False),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", help="the release binary of headset")
    parser.add_argument("--static-binary", help="the musl build of the same")
    parser.add_argument("--only", action="append", help="run this check alone; repeatable")
    parser.add_argument("--without", action="append", default=[], help="leave this check out")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all output")
    parser.add_argument("--list", action="store_true", help="list the checks")
    told = parser.parse_args()
    names = [name for name, _, _ in CHECKS]
    if told.list:
        print("\n".join([*names, "leaks (always, over what the others wrote)"]))
        return 0
    unknown = set(told.only or []) | set(told.without)
    unknown -= set(names)
    if unknown:
        parser.error(f"no check is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if not told.binary or not os.access(told.binary, os.X_OK):
        parser.error(f"no binary at {told.binary}; run cargo build --release first")

    in_ci = os.environ.get("CI", "").lower() in ("1", "true", "yes")
    wanted = [c for c in CHECKS if c[0] not in told.without and (not told.only or c[0] in told.only)]
    folder = Path(tempfile.mkdtemp(prefix="headset-test-"))
    benches = []

    def run(check):
        name, function, _ = check
        bench = Bench(name, Path(told.binary).resolve(), folder / name)
        bench.static_binary = told.static_binary
        benches.append(bench)
        begun = time.monotonic()
        try:
            with bench:
                outcome = ("ok", function(bench))
        except Skipped as skipped:
            outcome = ("FAILED" if in_ci else "SKIPPED", f"SKIPPED here: {skipped}")
        except Failed as failed:
            outcome = ("FAILED", str(failed))
        except Exception:  # a fault of the check itself is a failure, with its trace
            outcome = ("FAILED", traceback.format_exc())
        print(f"{outcome[0]:8} {name} ({time.monotonic() - begun:.1f} s): {outcome[1]}", flush=True)
        if outcome[0] == "FAILED":
            for process in bench.processes:
                print(process.tail(), flush=True)
        return outcome[0]

    beside = [check for check in wanted if check[2]]
    alone = [check for check in wanted if not check[2]]
    # The longest first, so that the others run in its shadow.
    beside.sort(key=lambda check: check[0] != "push-stream")
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
        outcomes += pool.map(run, beside)
    outcomes += map(run, alone)

    # Last: nothing that any process wrote may hold a secret.
    try:
        outcomes.append("ok")
        print(f"{'ok':8} leaks: {leaks.search(list(benches))}", flush=True)
    except Failed as failed:
        outcomes[-1] = "FAILED"
        print(f"{'FAILED':8} leaks: {failed}", flush=True)

    passed, failed = outcomes.count("ok"), outcomes.count("FAILED")
    skipped = outcomes.count("SKIPPED")
    if skipped:
        print(f"\n{skipped} SKIPPED: what they would have shown is NOT shown; see the lines above")
    if told.keep or failed:
        print(f"\nall output is in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
