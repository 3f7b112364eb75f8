"""The tables of a run."""

import statistics

from scenarios import SCENARIOS

REFERENCE = "nginx"


def tables(samples, versions):
    """Markdown: one table a scenario."""
    lines = [", ".join(versions.values())]
    for title, found in samples.items():
        scenario = SCENARIOS[title]
        key = scenario.columns[0][0]
        head = ["peer", *(name for _, name, _ in scenario.columns), "least..most", f"x {REFERENCE}"]
        rows = []
        for peer, rounds in found.items():
            row = [peer + ("~" if any(got["disturbed"] for got in rounds.values()) else "")]
            for column, _, places in scenario.columns:
                row.append(f"{statistics.median(got[column] for got in rounds.values()):.{places}f}")
            first = [got[key] for got in rounds.values()]
            places = scenario.columns[0][2]
            row.append(f"{min(first):.{places}f}..{max(first):.{places}f}")
            row.append(ratio(rounds, found.get(REFERENCE, {}), key))
            rows.append(row)
        lines += ["", f"### {title}: {scenario.title}", "", *table([head, *rows])]
    return "\n".join(lines)


def ratio(rounds, reference, key):
    """The median of the ratios within the rounds, with the least and the most."""
    each = [got[key] / reference[number][key] for number, got in rounds.items() if reference.get(number, {}).get(key)]
    return f"{statistics.median(each):.2f} ({min(each):.2f}..{max(each):.2f})" if each else "-"


def table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths))]
        lines.append("| " + " | ".join(cells) + " |")
        if number == 0:
            lines.append("|" + "|".join("-" * (width + 1) + (":" if at else "-") for at, width in enumerate(widths)) + "|")
    return lines
