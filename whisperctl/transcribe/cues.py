"""Subtitles' cues out of segments: short enough to read, in order, never two at once, never past the end. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from whisperctl.endpoint.transcription import Segment, Word
from whisperctl.transcribe.stitch import SPACELESS

_SHORTEST = 0.01
"""Seconds: players ask for an end after the start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a cue may hold; the defaults are the field's (Netflix, BBC: 42 characters, 2 lines, 7 s)."""

    width: int = 42
    """Characters of a line."""
    lines: int = 2
    seconds: float = 7.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cue:
    """What is on the screen at one time."""

    start: float
    end: float
    lines: tuple[str, ...]
    channel: str | None = None
    words: tuple[Word, ...] = ()


def cues(
    segments: Sequence[Segment], limits: Limits, duration: float | None = None, language: str | None = None
) -> list[Cue]:
    """The cues of `segments`, which are in the order of their starts."""
    spaceless = language in SPACELESS
    overlapping = [cue for segment in segments for cue in _split(segment, limits, spaceless=spaceless)]
    return _apart(overlapping, duration)


def _split(segment: Segment, limits: Limits, *, spaceless: bool) -> list[Cue]:
    """`segment` as few cues of about the same number of characters as the limits allow."""
    tokens = _tokens(segment.text, limits.width, spaceless=spaceless)
    if not tokens:
        return []
    space = "" if spaceless else " "
    length = segment.end - segment.start
    width = limits.width - (len(segment.channel) + 2 if segment.channel else 0)
    shown = replace(limits, width=max(width, limits.width // 2))
    count = max(1, ceil(length / limits.seconds - 1e-6))
    while True:
        count = min(count, len(tokens))
        groups = _groups(tokens, count)
        made = _timed(segment, groups, space, shown)
        fits = all(len(one.lines) <= limits.lines and one.end - one.start <= limits.seconds + 1e-6 for one in made)
        if fits or count == len(tokens):
            return [replace(one, end=min(one.end, one.start + limits.seconds)) for one in made]
        count += 1


def _tokens(text: str, width: int, *, spaceless: bool) -> list[str]:
    """Words (characters of a language without spaces), none longer than a line."""
    if spaceless:
        return list("".join(text.split()))
    return [part for word in text.split() for part in textwrap.wrap(word, width) or [word]]


def _groups(tokens: list[str], count: int) -> list[list[str]]:
    """`tokens` in `count` groups, none empty, of about as many characters each."""
    total = sum(map(len, tokens)) + len(tokens)
    groups: list[list[str]] = [[]]
    done = 0
    for index, token in enumerate(tokens):
        left, missing = len(tokens) - index, count - len(groups)
        full = done + (len(token) + 1) / 2 > total * len(groups) / count
        if groups[-1] and missing and (full or left <= missing):
            groups.append([])
        groups[-1].append(token)
        done += len(token) + 1
    return groups


def _timed(segment: Segment, groups: list[list[str]], space: str, limits: Limits) -> list[Cue]:
    total = sum(len(token) + 1 for group in groups for token in group)
    words = list(segment.words)
    known = len(words) == sum(map(len, groups))
    made: list[Cue] = []
    done = 0
    for group in groups:
        own, words = words[: len(group)], words[len(group) :]
        size = sum(len(token) + 1 for token in group)
        length = segment.end - segment.start
        made.append(
            Cue(
                start=own[0].start if known and made else segment.start + length * done / total,
                end=own[-1].end if known else segment.start + length * (done + size) / total,
                lines=tuple(textwrap.wrap(space.join(group), limits.width)),
                channel=segment.channel,
                words=tuple(own) if known else (),
            )
        )
        done += size
    return made


def _apart(cues: list[Cue], duration: float | None) -> list[Cue]:
    """The same in order, each ending before the next begins and none after `duration`."""
    apart: list[Cue] = []
    for cue in cues:
        start = max(cue.start, 0.0)
        if apart:
            start = max(start, apart[-1].start + _SHORTEST)
            apart[-1] = replace(apart[-1], end=min(apart[-1].end, start))
        apart.append(replace(cue, start=start, end=max(cue.end, start + _SHORTEST)))
    limit = duration
    for index in range(len(apart) - 1, -1, -1):
        cue = apart[index]
        if limit is None or cue.end <= limit:
            break
        end = max(limit, _SHORTEST * (index + 1))
        apart[index] = replace(cue, start=min(cue.start, end - _SHORTEST), end=end)
        limit = apart[index].start
    return apart
