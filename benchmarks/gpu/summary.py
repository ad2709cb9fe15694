"""The results of `compare.py` as a table and a plot: `summary.py results/h100-rounds.jsonl throughput.svg H100`."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

BASE = "tutorial"
Runs = dict[tuple[int, str], list[dict[str, Any]]]


def runs(path: Path) -> Runs:
    """Every run, by level and variant."""
    by_variant: Runs = defaultdict(list)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if "c" in row:  # others compare words
            by_variant[row["c"], row["variant"]].append(row)
    return by_variant


def typical(rows: list[dict[str, Any]], key: str) -> float:
    """The median over runs."""
    return median(float(row[key]) for row in rows)


def ratio(by_variant: Runs, level: int, variant: str) -> float:
    """The median over rounds of the variant's rate over the tutorial's in the same round."""
    base = {row["round"]: row["audio_s_per_s"] for row in by_variant[level, BASE]}
    rows = [row for row in by_variant[level, variant] if row["round"] in base]
    return median(float(row["audio_s_per_s"] / base[row["round"]]) for row in rows)


def table(by_variant: Runs) -> str:
    """One row for each level and variant."""
    head = (
        "| concurrent | variant | runs | audio-s/s, median | least to most | × tutorial | p50 s | p95 s | GPU busy % |"
    )
    lines = [head, "|---|---|---|---|---|---|---|---|---|"]
    for level, variant in sorted(by_variant, key=lambda key: (key[0], key[1] != BASE, key[1])):
        rows = by_variant[level, variant]
        rates = [row["audio_s_per_s"] for row in rows]
        cells = [level, variant, len(rows), f"{median(rates):.0f}", f"{min(rates):.0f} to {max(rates):.0f}"]
        cells += [f"{ratio(by_variant, level, variant):.2f}", f"{typical(rows, 'p50_s'):.2f}"]
        cells += [f"{typical(rows, 'p95_s'):.2f}", f"{typical(rows, 'gpu_busy_percent'):.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def plot(by_variant: Runs, target: Path, card: str) -> None:
    """Medians as bars, every run as a dot."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "whisperctl"
    import matplotlib.pyplot as plt

    levels = sorted({level for level, _ in by_variant})
    variants = sorted({variant for _, variant in by_variant}, key=lambda variant: (variant != BASE, variant))
    figure, axes = plt.subplots(figsize=(8, 4.2))
    for number, variant in enumerate(variants):
        places = [at + (number - (len(variants) - 1) / 2) * 0.2 for at in range(len(levels))]
        rates = [[row["audio_s_per_s"] for row in by_variant[level, variant]] for level in levels]
        axes.bar(places, [median(some) for some in rates], width=0.18, label=variant)
        for place, some in zip(places, rates, strict=True):
            axes.plot([place] * len(some), some, "k.", markersize=4)
    axes.set_xticks(range(len(levels)), [str(level) for level in levels])
    axes.set_xlabel("concurrent requests")
    axes.set_ylabel("audio seconds per second")
    axes.set_title(f"vLLM 0.26.0, one {card}, a model of large-v3-turbo's shape", fontsize=10)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


def main() -> None:
    """Print the table; draw the plot."""
    by_variant = runs(Path(sys.argv[1]))
    print(table(by_variant))
    plot(by_variant, Path(sys.argv[2]), sys.argv[3])


if __name__ == "__main__":
    main()
