"""The Grafana dashboard: every field of it is one of Grafana's own schema, and every query returns data
from a Prometheus that has seen what a headset can do.

Grafana itself is in no package registry that this project uses. Its schema is: Grafana generates the
types of `grafana-foundation-sdk` from it, and the dashboard is read into them and written again; a
field that is not of the schema is lost on the way.
"""

import json
import time
from pathlib import Path

from harness import expect

DASHBOARD = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "headset.json"
# Of annotations, what the Prometheus data source reads and the schema leaves to it.
OF_THE_SOURCE = {"titleFormat", "textFormat", "step"}
# What Grafana puts in the place of a variable when "All" is chosen.
CHOSEN = {
    "$__rate_interval": "10s",
    "$job": ".*",
    "$instance": ".*",
    "$route": ".*",
    "$credential": ".*",
}


def judge(prometheus):
    """Fails with the first query without data, or the fields that Grafana does not know."""
    kept = json.loads(DASHBOARD.read_text())
    unknown = [path for path in lost(kept, again(kept)) if path.rsplit("/", 1)[1] not in OF_THE_SOURCE]
    expect(not unknown, f"not of Grafana's schema: {unknown}")
    asked = 0
    for what, expression in queries(kept):
        for name, value in CHOSEN.items():
            expression = expression.replace(name, value)
        expect("$" not in expression, f"{what}: a variable is left in {expression}")
        now = time.time()
        told = prometheus.asked("query_range", query=expression, start=now - 900, end=now, step="2s")
        expect(told["result"], f"{what}: no data for {expression}")
        asked += 1
    for variable in kept["templating"]["list"]:
        if variable["type"] == "query":
            family, label = variable["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
            for name, value in CHOSEN.items():
                family = family.replace(name, value)
            values = prometheus.asked(f"label/{label}/values", **{"match[]": family})
            expect(values, f"variable {variable['name']}: no values")
            asked += 1
    return f"all {asked} queries of the dashboard return data"


def queries(kept):
    """What each panel and annotation asks, with its name."""
    for panel in kept["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in kept["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def again(kept):
    """`kept` read into Grafana's types and written again."""
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    return json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(kept)))


def lost(before, after, path=""):
    """The paths of what is in `before` and not the same in `after`."""
    if isinstance(before, dict):
        for name, value in before.items():
            has = isinstance(after, dict) and name in after
            yield from lost(value, after[name], f"{path}/{name}") if has else [f"{path}/{name}"]
    elif isinstance(before, list):
        if not isinstance(after, list) or len(before) != len(after):
            yield path or "/"
        else:
            for index, (one, other) in enumerate(zip(before, after)):
                yield from lost(one, other, f"{path}/{index}")
    elif before != after:
        yield path or "/"
