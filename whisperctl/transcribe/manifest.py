"""Manifests: files that list recordings, one a line.

A line is a path, a URL, or a JSON object with `path` (either) and, where they differ from the options, `language`,
`channels` and `id` (the transcript's name below the output folder). Empty lines and those that begin with `#` count
nothing. Relative paths start where the manifest lies. Nothing is opened here.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from whisperctl import files
from whisperctl.errors import WhisperctlError
from whisperctl.serving import languages
from whisperctl.transcribe import remote
from whisperctl.transcribe.channels import Channels, parsed
from whisperctl.transcribe.recordings import Recording, printable

_LARGEST = 1 << 30
_KEYS = {"path", "language", "channels", "id"}
_LISTED = 20
"""Problems that are listed, at most."""


def listed(path: str) -> list[Recording]:
    """The recordings that the manifest at `path` lists, in its order, each once.

    Raises:
        WhisperctlError: the manifest cannot be read, or lines of it are wrong: all of them, with their numbers.
    """
    try:
        text = files.read_text(path, _LARGEST)
    except files.Unreadable as error:
        raise WhisperctlError(f"{path}: {error}") from error
    recordings: dict[str, Recording] = {}
    problems: list[str] = []
    places: dict[tuple[Path, Path], str | None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            if line.strip() and not line.startswith("#"):
                one = _recording(line.strip(), Path(path).parent)
                same = recordings.setdefault(one.url or one.given, one)
                if places.setdefault((one.path, one.place), same.url) != same.url:
                    raise ValueError("an earlier line differs by its query only: give each an `id`")
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}.")
    if problems:
        more = len(problems) - _LISTED
        raise WhisperctlError("\n".join(problems[:_LISTED] + ([f"… and {more} more."] if more > 0 else [])))
    return list(recordings.values())


def _recording(line: str, folder: Path) -> Recording:
    """The recording of one line; a ValueError tells what is wrong with it."""
    entry = _entry(line) if line.startswith("{") else {"path": line}
    where = entry["path"]
    url, path = _located(where, folder)
    place = _place(entry["id"]) if "id" in entry else Path(path.name).with_suffix("")
    return Recording(
        name=printable(remote.shown(where)),
        given=remote.shown(where) if url else where,
        path=path,
        place=place,
        url=url,
        listed=True,
        language=_language(entry.get("language")),
        channels=_channels(entry.get("channels")),
    )


def _entry(line: str) -> dict[str, str]:
    try:
        entry: Any = json.loads(line)
    except ValueError as error:
        raise ValueError("this is no JSON object") from error
    if unknown := set(entry) - _KEYS:
        raise ValueError(f"{min(unknown)!r} is unknown; a line has {', '.join(sorted(_KEYS))}")
    if not all(isinstance(value, str) and value for value in entry.values()):
        raise ValueError("every value is text")
    if "path" not in entry:
        raise ValueError("`path` is missing")
    return dict(entry)


def _located(where: str, folder: Path) -> tuple[str | None, Path]:
    """The URL, if it is one, and a path: of a URL one that only names it."""
    if "://" not in where:
        return None, folder / where
    parts = urlsplit(where)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise ValueError("a file:// URL names a file of this machine, as in file:///data/a.wav")
        return None, Path(unquote(parts.path))
    if reason := remote.problem(where):
        raise ValueError(reason)
    return where, Path("/", parts.hostname or "", unquote(parts.path).lstrip("/"))


def _place(name: str) -> Path:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or not name.isprintable() or not parts or parts[-1].startswith("."):
        raise ValueError(f"`id` {name!r} must name a place below the output folder")
    return Path(*parts)


def _language(text: str | None) -> str | None:
    if text is None or text.casefold() == languages.DETECTED:
        return None
    if (code := languages.code(text)) is None:
        raise ValueError(f"Whisper has no language {text!r}")
    return code


def _channels(text: str | None) -> Channels | None:
    try:
        return None if text is None else parsed(text)
    except ValueError as error:
        raise ValueError(f"`channels` {text!r} is not {error}") from error
