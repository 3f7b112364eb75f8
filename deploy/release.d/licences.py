#!/usr/bin/env python3
"""Gathers the licences of all crates that a static binary links, by what the crates carry.

    licences.py SOURCE FILE TARGET...

Which licences are allowed is judged by `cargo deny`, which reads deny.toml. A crate without
a text of its own stands under its licence's name alone; there is a list of those at the end.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HEAD = """headset is under the Apache License 2.0 (LICENSE). Its static binary holds Rust's standard library (MIT or
Apache-2.0), musl's libc (MIT), and the crates below under the licences below, each as its crate has it.
"""
NAMES = ("license", "licence", "copying", "notice", "unlicense", "copyright")


def main(source, file, *targets):
    """One text once, under the names of all crates that have it."""
    linked = {}
    for target in targets:
        linked |= crates(source, target)
    owners, without = defaultdict(list), []
    for name, (licence, folder) in sorted(linked.items()):
        found = [
            it.read_text(errors="replace").strip()
            for it in sorted(folder.iterdir())
            if it.is_file() and it.name.lower().startswith(NAMES)
        ]
        for text in dict.fromkeys(found):
            owners[text].append(f"{name} ({licence})")
        if not found:
            without.append(f"{name} ({licence})")
    parts = [HEAD]
    for text, names in sorted(owners.items(), key=lambda it: it[1]):
        parts.append("=" * 100 + "\n" + "\n".join(names) + "\n" + "-" * 100 + "\n" + text + "\n")
    if without:
        parts.append("=" * 100 + "\nWithout a text of their own:\n" + "\n".join(without) + "\n")
    Path(file).write_text("\n".join(parts))
    print(f"{len(linked)} crates, {len(owners)} texts, {len(without)} crates without one")


def crates(source, target):
    """What `target` links: name with version, to licence and folder. No proc macros' own, no tests'."""
    tree = ["cargo", "tree", "--locked", "--no-default-features", "--features", "otlp,redis", "--target", target, "--edges", "normal,no-proc-macro"]
    said = subprocess.run([*tree, "--prefix", "none", "--format", "{p}"], cwd=source, check=True, capture_output=True, text=True)
    wanted = {tuple(line.split()[:2]) for line in said.stdout.splitlines() if line}
    meta = ["cargo", "metadata", "--locked", "--format-version", "1", "--all-features", "--filter-platform", target]
    said = subprocess.run(meta, cwd=source, check=True, capture_output=True, text=True)
    found = {}
    for one in json.loads(said.stdout)["packages"]:
        if (one["name"], "v" + one["version"]) in wanted and one["source"]:
            licence = one["license"] or one["license_file"] or "?"
            found[f"{one['name']} {one['version']}"] = (licence, Path(one["manifest_path"]).parent)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
