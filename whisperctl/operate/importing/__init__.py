"""`init --from`: a live deployment, or every one of a project, as stack files. Reads UbiOps, writes nothing there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from whisperctl.control.api import Api
from whisperctl.errors import ApiError, WhisperctlError
from whisperctl.operate.importing.describe import STACK_FILE, Description, describe
from whisperctl.operate.importing.launched import is_whisper
from whisperctl.operate.importing.objects import read_objects

EVERYTHING = "*"
"""In place of a deployment's name: every one of the project that serves speech."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """Stack files by their names, and what was passed over."""

    stacks: Mapping[str, Description]
    passed_over: tuple[str, ...] = ()
    """Deployments that are no stack, each with why."""


def import_live(api: Api, reference: str) -> Import:
    """The files of `DEPLOYMENT`, `DEPLOYMENT/VERSION` or `*`.

    Raises:
        WhisperctlError: there is no such deployment or version, or UbiOps cannot be read.
    """
    if reference != EVERYTHING:
        deployment, _, version = reference.partition("/")
        return Import(stacks={STACK_FILE: describe(read_objects(api, deployment, version))})
    stacks: dict[str, Description] = {}
    passed_over = []
    for name in sorted(item["name"] for item in api.deployments()):
        try:
            objects = read_objects(api, name)
        except ApiError:
            raise
        except WhisperctlError as error:
            passed_over.append(str(error).partition("\n")[0])
            continue
        if is_whisper(objects):
            stacks[f"{name}/{STACK_FILE}"] = describe(objects)
        else:
            passed_over.append(f"{objects.address} serves no Whisper with vLLM, as far as its package and labels tell.")
    return Import(stacks=stacks, passed_over=tuple(passed_over))
