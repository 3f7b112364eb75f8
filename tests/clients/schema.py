"""The JSON Schema that `headset schema` prints, with a validator that knows nothing of headset."""

import json
import subprocess
import tomllib
from pathlib import Path

from harness import PATIENCE, expect

ROOT = Path(__file__).resolve().parents[2]

# What an editor must mark, each made from config/minimal.toml by one change.
WRONG = [
    ("a key that does not exist", lambda c: c["listener"]["app"].update(bnd="127.0.0.1:1")),
    ("text for a whole number", lambda c: c.setdefault("limits", {}).update(connections="many")),
    ("an unknown kind", lambda c: first(c["credential"]).update(kind="basic_auth")),
    ("a key of another kind", lambda c: first(c["credential"]).update(account_sid="acme")),
    ("a secret that is written out", lambda c: first(c["credential"]).update(password="hunter2")),
    ("a name with a capital", lambda c: c["route"].update({"Contacts": first(c["route"])})),
]


def first(table):
    return next(iter(table.values()))


def schema(bench):
    """Every file in config/ fits the schema, and what headset refuses for its shape does not."""
    from jsonschema import Draft7Validator

    said = subprocess.run(
        [bench.binary, "schema"], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    printed = json.loads(said.stdout)
    Draft7Validator.check_schema(printed)
    validator = Draft7Validator(printed)
    files = sorted((ROOT / "config").glob("*.toml"))
    for file in files:
        faults = [fault.message for fault in validator.iter_errors(tomllib.loads(file.read_text()))]
        expect(not faults, f"{file.name}: {faults}")
    minimal = (ROOT / "config" / "minimal.toml").read_text()
    for what, change in WRONG:
        config = tomllib.loads(minimal)
        change(config)
        expect(not validator.is_valid(config), f"the schema takes {what}")
    return f"{len(files)} files fit it, {len(WRONG)} faults do not"
