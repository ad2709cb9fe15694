"""A stack that no file at hand declares, known by the labels of its objects alone: enough to destroy it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from whisperctl.loading.assemble import build
from whisperctl.loading.document import parse
from whisperctl.serving import catalog
from whisperctl.spec import NO_FILE, Stack


def undeclared(name: str, deployment: str, version: str) -> Stack:
    """The stack `name` with the names of its objects; everything else of it is a stand-in that nothing compares.

    Args:
        name: the stack's name.
        deployment: the name of its deployment.
        version: the name of one of its versions.
    """
    document = {
        "stack": name,
        "model": {"name": "openai/whisper-tiny"},
        "vllm": {"version": catalog.releases()[-1].version},
        "environment": {"mode": "package"},
        "deployment": {"name": deployment},
        "instance_type_group": {"name": "none", "gpu": "CPU"},
        "version": {"name": version},
    }
    file = NO_FILE + name
    tree = parse(json.dumps(document), file, Path(), [])
    return replace(build(tree, file), marks={})
