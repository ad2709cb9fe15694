"""The model on its hub, as an instance will ask for it: model, revision, conditions, token. Reads only.

Skipped, and said so, where the model is packed, where the environment says offline, and where no hub answers from here:
an instance may reach it all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from whisperctl.endpoint.hub import HUB, HubAnswer, ModelAccess, ask_hub
from whisperctl.errors import WhisperctlError
from whisperctl.operate.doctor.check import Check, failed, ok, skipped
from whisperctl.serving import catalog
from whisperctl.spec import Stack

ENDPOINT, TOKEN, OFFLINE = "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"
SHORT = 12
"""Characters of a commit that are shown."""
_TRUE = ("1", "ON", "YES", "TRUE")
"""What huggingface_hub takes for true."""


def hub_check(stack: Stack, environ: Mapping[str, str], inherited: Collection[str]) -> Check:
    """What the hub says of the stack's model.

    Args:
        stack: whose env vars name the hub and its token.
        environ: of this process: names the hub where the stack does not, and says whether one is to be asked.
        inherited: names of the variables that the version gets from its project or deployment.
    """
    title = f"{stack.name}: model on the hub"
    if stack.model.folder is not None:
        return skipped(title, "the model is packed along: no hub is asked")
    if environ.get(OFFLINE, "").upper() in _TRUE:
        return skipped(title, f"{OFFLINE} is set here: model, revision and token are not checked")
    own = {var.name: var.value for var in stack.env}
    hub, declared = own.get(ENDPOINT) or environ.get(ENDPOINT) or HUB, own.get(TOKEN)
    token = declared if declared and _may_have_the_token(hub, environ) else None
    try:
        answer = ask_hub(hub, stack.model.name, stack.model.revision or "main", token)
    except WhisperctlError as error:
        return skipped(title, f"{str(error).splitlines()[0]}; model, revision and token are not checked")
    if token is None and answer.access in ("gated", "no model"):
        if declared:
            why = f"{hub} asks for a token, and gets none: {ENDPOINT} stands in the file, which may be anybody's"
            return skipped(title, f"{why}; export {ENDPOINT}={hub} to send it there")
        if TOKEN in inherited:
            why = f"only whoever has the {TOKEN} that the stack inherits can tell"
            return skipped(title, f"{why}: {hub} asks for a token")
    return _verdict(title, stack, hub, answer, token is not None)


def _may_have_the_token(hub: str, environ: Mapping[str, str]) -> bool:
    """Whether who runs this names the hub, or it is the usual one: a file that a change request brought may not."""
    return hub.rstrip("/") in (HUB, environ.get(ENDPOINT, "").rstrip("/"))


def _verdict(title: str, stack: Stack, hub: str, answer: HubAnswer, has_token: bool) -> Check:
    name, revision = stack.model.name, stack.model.revision or "main"
    asked = f"with the {TOKEN} of {stack.file}" if has_token else "without a token"
    commit = f" ({answer.commit[:SHORT]})" if answer.commit and answer.commit != revision else ""
    wrong: dict[ModelAccess, tuple[str, str]] = {
        "no revision": (f"{name} has no revision {revision!r}", f"{_at(stack, 'revision')}: see {hub}/{name}/commits"),
        "no model": (
            f"{hub} has no {name}, asked {asked}",
            f"{_at(stack, 'name')}: {_spelling(name, has_token)}",
        ),
        "gated": (f"{name} is gated, and not given out {asked}", _conditions(f"{hub}/{name}", has_token)),
        "bad token": (f"{hub} does not accept the {TOKEN} of {stack.file}", f"make a new one at {hub}/settings/tokens"),
        "no config": (f"{name} has no config.json", f"{_at(stack, 'name')}: vLLM loads models that have one"),
        "disabled": (f"{hub} has disabled {name}", f"{_at(stack, 'name')}: name another model"),
    }
    if answer.access == "there":
        return ok(title, f"{hub} gives out {name} at {revision[:SHORT]}{commit}, asked {asked}")
    return failed(title, *wrong[answer.access])


def _at(stack: Stack, key: str) -> str:
    return stack.source("model", key)


def _spelling(name: str, has_token: bool) -> str:
    near = catalog.near_model(name)
    if near and near != name:
        return f"did you mean {near}?"
    return "check its spelling" + ("" if has_token else f"; a private one needs env: {TOKEN}")


def _conditions(page: str, has_token: bool) -> str:
    if has_token:
        return f"accept its conditions at {page} as the user of that token, who must be allowed to read it"
    return f'accept its conditions at {page}, and write {TOKEN}: {{value: "${{{TOKEN}}}", secret: true}} under env:'
