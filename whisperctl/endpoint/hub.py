"""The hub that an instance downloads its model from: whether it gives out this model, revision and all, to this token.

One HEAD of the model's config.json, as huggingface_hub's own first request is; the hub says in `X-Error-Code` what is
wrong (huggingface_hub, utils/_http.py). The token goes to the hub's own origin only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urljoin, urlsplit

import httpx

from whisperctl.errors import Unreachable, WhisperctlError
from whisperctl.hosts import refuse_plain
from whisperctl.output import clean, learn
from whisperctl.tls import client_context

HUB = "https://huggingface.co"
"""Where `HF_ENDPOINT` is not set."""
SECONDS = 10.0
_REDIRECTS = 3
"""Of a model that was renamed the hub redirects to the new name."""
BAD_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105 - what the hub says
ModelAccess = Literal["there", "gated", "no model", "no revision", "no config", "bad token", "disabled"]
_CODES: dict[str, ModelAccess] = {
    "GatedRepo": "gated", "RepoNotFound": "no model", "RevisionNotFound": "no revision", "EntryNotFound": "no config",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class HubAnswer:
    """What a hub says about one revision of a model."""

    access: ModelAccess
    commit: str = ""
    """The commit that the revision stands for, where the hub tells it."""


def ask_hub(hub: str, model: str, revision: str, token: str | None) -> HubAnswer:
    """Whether a hub gives out a model.

    Args:
        hub: its address, such as `https://huggingface.co`.
        model: `owner/name`.
        revision: a commit, tag or branch.
        token: of the hub; None asks without.

    Raises:
        Unreachable: it gives no answer that tells.
        WhisperctlError: its address is no URL, or the token would travel in clear text.
    """
    path = f"{hub.rstrip('/')}/{quote(model)}/resolve/{quote(revision, safe='')}/config.json"
    if urlsplit(path).scheme not in ("http", "https") or not urlsplit(path).hostname:
        raise WhisperctlError(f"HF_ENDPOINT is no address of a hub: {clean(hub)}")
    if token:
        learn(token)
        refuse_plain(path, what="The hub's token")
    response = _asked(path, {"Authorization": f"Bearer {token}"} if token else {})
    access = _access(response)
    if access is None:
        raise Unreachable("HEAD", path, response.status_code, f"the hub answers {response.status_code}")
    return HubAnswer(access=access, commit=clean(response.headers.get("x-repo-commit", "")))


def _asked(url: str, headers: dict[str, str]) -> httpx.Response:
    """The answer, after redirects within the hub; one that leads elsewhere is where the file's bytes are."""
    host = urlsplit(url).netloc
    try:
        with httpx.Client(timeout=SECONDS, verify=client_context(), follow_redirects=False) as client:
            response = client.head(url, headers=headers)
            for _ in range(_REDIRECTS):
                target = urljoin(url, response.headers.get("location", ""))
                if not response.has_redirect_location or urlsplit(target)[:2] != urlsplit(url)[:2]:
                    break
                url, response = target, client.head(target, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, ImportError, ValueError) as error:
        why = clean(" ".join(str(error).split())) or type(error).__name__
        raise Unreachable("HEAD", url, 0, f"{host} cannot be reached from here: {why}") from error
    return response


def _access(response: httpx.Response) -> ModelAccess | None:
    """What the answer means; None where it tells nothing about the model."""
    status, message = response.status_code, response.headers.get("x-error-message", "")
    if status < 400:
        return "there"
    if status == 401 and message.startswith(BAD_TOKEN):
        return "bad token"
    if status == 403 and "disabled" in message:
        return "disabled"
    if code := _CODES.get(response.headers.get("x-error-code", "")):
        return code
    return "no model" if status in (401, 404) else None
