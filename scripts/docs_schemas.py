"""A hook of MkDocs: puts the JSON Schemas beside the pages, at the addresses that their `$id` names."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SCHEMAS = Path(__file__).resolve().parent.parent / "schemas"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add schemas/NAME.schema.json to the site."""
    for schema in sorted(SCHEMAS.glob("*.json")):
        files.append(File.generated(config, f"schemas/{schema.name}", content=schema.read_text(encoding="utf-8")))
    return files
