"""What was measured, as a table and as a file."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass
class Figure:
    """One line of the table. `holds` is None where the design sets no bound."""

    name: str
    value: float
    unit: str
    baseline: str = ""
    baseline_value: float | None = None
    bound: str = ""
    holds: bool | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline_value if self.baseline_value else None

    @property
    def verdict(self) -> str:
        return {None: "", True: "ok", False: "SHORT"}[self.holds]


def shown(value: float, unit: str) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 3
    return f"{value:,.{digits}f} {unit}".strip()


def table(figures: list[Figure]) -> str:
    rows = [("figure", "value", "baseline", "ratio", "bound", "")]
    for figure in figures:
        baseline = ""
        if figure.baseline_value is not None:
            baseline = f"{shown(figure.baseline_value, figure.unit)}  {figure.baseline}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:,.{2 if figure.ratio < 10 else 0}f} ×"
        rows.append((figure.name, shown(figure.value, figure.unit), baseline, ratio, figure.bound, figure.verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = {1, 3}
    lines = []
    for row in rows:
        cells = zip(row, widths)
        justified = [cell.rjust(width) if at in right else cell.ljust(width) for at, (cell, width) in enumerate(cells)]
        lines.append("  ".join(justified).rstrip())
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(lines)


def write(figures: list[Figure], notes: list[str], quick: bool) -> Path:
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "latest.json"
    file.write_text(json.dumps({
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "quick": quick,
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "figures": [{**asdict(figure), "ratio": figure.ratio} for figure in figures], "notes": notes}, indent=1) + "\n")
    return file
