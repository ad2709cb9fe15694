"""llms.txt: what a language model is to read about whisperctl, in the form of https://llmstxt.org.

The list of pages is the site's navigation; a page's description is its first sentence. `docs_generate.py` writes the
file; as a hook of MkDocs this module puts it beside the pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parent.parent
SITE = "https://whisperctl.github.io/whisperctl/latest/"


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags are none of ours."""


_Loader.add_multi_constructor("", lambda _loader, _suffix, _node: None)


def pages() -> list[tuple[str, str]]:
    """Title and file of every page of the navigation, in its order."""
    return list(_flat(yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)["nav"]))


def _flat(nav: Any) -> Iterator[tuple[str, str]]:
    for entry in nav:
        for title, value in entry.items():
            if isinstance(value, str):
                yield title, value
            else:
                yield from _flat(value)


def description(page: Path) -> str:
    """The first sentence of a page's text."""
    paragraphs = re.split(r"\n\s*\n", page.read_text(encoding="utf-8"))
    plain = next(p for p in paragraphs if not p.lstrip().startswith(("#", "<!--", "!", "|", "```", "---")))
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(plain.split())).replace("`", "").replace("*", "")
    return re.split(r"(?<=[a-z)])[.:] ", words)[0].rstrip(".:") + "."


ABOUT = """\
# whisperctl

> Infrastructure as code for speech recognition: one stack.yaml declares a Whisper model, served by vLLM on UbiOps;
> `whisperctl plan` shows what differs from the live project, `whisperctl apply` makes it so and proves it.

Install: `pip install whisperctl-ubiops` (the command is `whisperctl`; PyPI's `whisperctl` is another project).
There is no state file: ownership is in labels on the live objects. Exit codes: 0 done, 1 failed, 2 changes pending
(`plan --detailed-exitcode`, `drift`), 64 wrong usage, 130 interrupted. `--format json` prints one document, whose
schema is `whisperctl schema --of plan`. The token comes from UBIOPS_API_TOKEN or `--token-file`.
"""


def text() -> str:
    """The whole file."""
    links = [(title, f"{file.removesuffix('.md')}.html", description(ROOT / "docs" / file)) for title, file in pages()]
    schemas = sorted(file.name for file in (ROOT / "schemas").glob("*.schema.json"))
    lines = [ABOUT, "## Documentation", ""]
    lines += [f"- [{title}]({SITE}{file}): {sentence}" for title, file, sentence in links]
    lines += ["", "## Schemas", "", *(f"- [{name}]({SITE}schemas/{name})" for name in schemas), ""]
    return "\n".join(lines)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add llms.txt to the site (a hook of MkDocs)."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "llms.txt", content=text()))
    return files
