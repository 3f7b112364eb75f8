#!/usr/bin/env python3
"""Runs the outside checks: headset's binary against real clients and servers.

`./test` builds what they need and calls this. By hand:
    run.py --binary target/debug/headset [--only NAME]... [--list]
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

import balancer
import blocks
import book
import clients
import conformance
import deploy
import faults
import fields
import fleet
import fleet_check
import fleet_failover
import fleet_faults
import fleet_pace
import grpc_check
import instructions
import interception
import jobs
import leaks
import load
import manifests
import otlp
import packages
import page
import registrations
import schema
import scrape
import situations
import soak
import speakers
import streams
import stuck
import upgrades

from harness import Bench, Failed, Skipped

# Name and function, the longest first, so that the others run in their shadow.
CHECKS = [
    ("instructions", instructions.instructions),
    ("push-stream", streams.push_stream),
    ("faults-stalls", faults.stalls),
    ("faults-killed", faults.killed),
    ("restart-storm", faults.restart_storm),
    ("fleet", fleet.fleet),
    ("fleet-store", fleet_faults.store),
    ("fleet-killed", fleet_faults.killed),
    ("fleet-asleep", fleet_faults.asleep),
    ("fleet-sentinel", fleet_failover.fleet_sentinel),
    ("fleet-cluster", fleet_failover.fleet_cluster),
    ("fleet-pace", fleet_pace.fleet_pace),
    ("fleet-check", fleet_check.fleet_check),
    ("soak", soak.soak),
    ("short-life", load.short_life),
    ("faults-before", faults.before),
    ("faults-during", faults.during),
    ("faults-after", faults.after),
    ("faults-reloads", faults.reloads),
    ("drain-busy", faults.drain_busy),
    ("reloads-quiet", registrations.reloads_quiet),
    ("rollout", registrations.rollout),
    ("page", page.page),
    ("situations", situations.situations),
    ("stuck", stuck.stuck),
    ("http2-conformance", conformance.http2),
    ("faults-drain", faults.drain),
    ("upload", streams.upload),
    ("blocks", blocks.blocks),
    ("interception", interception.interception),
    ("prometheus", scrape.prometheus),
    ("traces", otlp.traces),
    ("websocket", upgrades.websocket),
    ("expect", upgrades.continues),
    ("grpc", grpc_check.grpc_calls),
    ("haproxy", balancer.haproxy),
    ("python", speakers.python),
    ("node", speakers.node),
    ("nghttp", speakers.nghttp),
    ("exotelpy", clients.exotelpy),
    ("exotel", clients.exotel),
    ("fields", fields.fields),
    ("curl", clients.curl),
    ("demo", clients.demo),
    ("job", jobs.job),
    ("ipv6", jobs.ipv6),
    ("chart", manifests.chart),
    ("manifest", manifests.manifest),
    ("kustomize", manifests.kustomize),
    ("compose", manifests.compose),
    ("config-map", deploy.config_map),
    ("documentation", deploy.documentation),
    ("schema", schema.schema),
    ("book", book.book),
    ("rules", deploy.rules),
    ("left-out", deploy.left_out),
    ("static", deploy.static),
    ("size", deploy.size),
    ("image", packages.image),
    ("package", packages.package),
]
# It takes all that the machine has.
ALONE = [("herd", load.herd)]
# What only the binary that ships can show.
RELEASE = ("instructions", "left-out", "static", "size", "image", "package")
# Most of them wait. The machine decides how far they get in that time, not what they say.
AT_A_TIME = 6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", help="headset")
    parser.add_argument("--simulator", help="a headset with the demo, whose simulator is used (default: the binary)")
    parser.add_argument("--static", action="store_true", help="it is a static binary")
    parser.add_argument("--release", action="store_true", help="it is built as it ships, but with symbols: judge its size and instructions")
    parser.add_argument("--stuck", type=int, default=stuck.CALLERS, metavar="N", help="callers of the check `stuck`")
    parser.add_argument("--soak", type=int, default=soak.SECONDS, metavar="SECONDS", help="how long the check `soak` goes on")
    parser.add_argument("--only", action="append", help="run this check alone; repeatable")
    parser.add_argument("--without", action="append", default=[], help="leave this check out")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all output")
    parser.add_argument("--list", action="store_true", help="list the checks")
    told = parser.parse_args()
    names = [name for name, _ in CHECKS + ALONE]
    if told.list:
        print("\n".join([*names, "leaks (always, over what the others wrote)"]))
        return 0
    unknown = set(told.only or []) | set(told.without)
    unknown -= set(names)
    if unknown:
        parser.error(f"no check is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if not told.binary or not os.access(told.binary, os.X_OK):
        parser.error(f"no binary at {told.binary}; run cargo build first")

    stuck.CALLERS = told.stuck
    soak.SECONDS = told.soak
    in_ci = os.environ.get("CI", "").lower() in ("1", "true", "yes")
    wanted = [
        check
        for check in CHECKS + ALONE
        if check[0] not in told.without
        and (check[0] in told.only if told.only else told.release or check[0] not in RELEASE)
    ]
    folder = Path(tempfile.mkdtemp(prefix="headset-test-"))
    benches = []

    def run(check):
        name, function = check
        bench = Bench(name, Path(told.binary).resolve(), folder / name)
        bench.static = told.static
        bench.simulating = Path(told.simulator or told.binary).resolve()
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

    with concurrent.futures.ThreadPoolExecutor(max_workers=AT_A_TIME) as pool:
        outcomes = list(pool.map(run, [check for check in wanted if check not in ALONE]))
    outcomes += map(run, [check for check in wanted if check in ALONE])
    if not told.release and not told.only:
        print(f"left out: {', '.join(RELEASE)}: they are about the binary that ships (--release)")

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
