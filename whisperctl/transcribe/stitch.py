"""The transcripts of a recording's pieces as one, with times from the recording's start. Pure.

Pieces that were cut in silence are put side by side. Pieces that share sound heard some words twice: the longest run of
words that both agree on is found, and the join is made in its middle, far from the ends where each may have heard half
a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import groupby
from math import inf
from typing import NamedTuple

from whisperctl.endpoint.transcription import Segment, Transcript, timed
from whisperctl.endpoint.wer import WORD, words
from whisperctl.transcribe.levels import SECONDS, leading_silence
from whisperctl.transcribe.pieces import Piece

SPACELESS = frozenset({"zh", "ja", "th", "yue", "lo", "my", "km"})
"""Languages written without spaces between words."""

_SLACK = 1.0
"""Seconds by which a model's times may be off."""


_AT_ONCE = 0.1
"""Seconds: a first segment from no later than this is said to begin with its piece."""
_BEFORE_SOUND = 0.06
"""Seconds that are kept before the sound: the beginning of a word may be soft."""


class _Word(NamedTuple):
    """A word of a segment with its time, told from its place in the text."""

    segment: int
    first: int
    after: int
    start: float
    end: float
    sound: str


def stitch(parts: Iterable[tuple[Piece, Transcript]]) -> Transcript:
    """One transcript of all pieces, in order.

    A piece's transcript without segments counts as one segment from its start to its end.
    """
    segments: list[Segment] = []
    language, end = None, 0.0
    for piece, transcript in parts:
        shifted = _shifted(piece, transcript)
        if piece.shared and segments and shifted:
            first = _first_after(segments, piece.start - _SLACK)
            segments[first:], shifted = _joined(segments[first:], shifted, piece.start, end)
        _clear(segments, shifted)
        segments += shifted
        language, end = language or transcript.language, piece.end
    space = "" if language in SPACELESS else " "
    text = space.join(segment.text for segment in segments)
    return Transcript(text=text, language=language, duration=end, segments=tuple(segments))


def begun(piece: Piece, transcript: Transcript) -> Transcript:
    """`transcript` of `piece`, whose first segment begins with the sound.

    For what comes after a pause models tend to say 0.0, and a piece that was cut in a long silence begins with half
    of it.
    """
    first = transcript.segments[0] if transcript.segments else None
    if first is None or first.start > _AT_ONCE:
        return transcript
    start = round(leading_silence(piece.levels) * SECONDS - _BEFORE_SOUND, 3)
    if not first.start < start < first.end:
        return transcript
    return replace(transcript, segments=(replace(first, start=start), *(transcript.segments or ())[1:]))


def merged(lanes: Sequence[tuple[str | None, Transcript]]) -> Transcript:
    """The transcripts of lanes that were transcribed by themselves as one, in the order of time.

    Its text has a line for each turn: `LABEL: what was said`.
    """
    labelled = [replace(segment, channel=label) for label, transcript in lanes for segment in transcript.segments or ()]
    ordered = sorted(labelled, key=lambda one: (one.start, one.end))
    language = next((one.language for _, one in lanes if one.language), None)
    space = "" if language in SPACELESS else " "
    turns = groupby(ordered, key=lambda one: one.channel)
    return Transcript(
        text="\n".join(f"{label}: {space.join(one.text for one in turn)}" for label, turn in turns),
        language=language,
        duration=max((one.duration or 0.0 for _, one in lanes), default=0.0),
        segments=tuple(ordered),
    )


def _shifted(piece: Piece, transcript: Transcript) -> list[Segment]:
    sane = timed(begun(piece, transcript), piece.end - piece.start).segments or ()
    return [
        Segment(
            start=one.start + piece.start,
            end=one.end + piece.start,
            text=one.text,
            channel=one.channel,
            words=one.words,
        )
        for one in sane
    ]


def _first_after(segments: list[Segment], time: float) -> int:
    """Where those segments begin that end after `time`: a recording of hours is not looked through at each cut."""
    first = len(segments)
    while first and segments[first - 1].end > time:
        first -= 1
    return first


def _clear(before: list[Segment], after: list[Segment]) -> None:
    """Let `before` end no later than `after` begins: a model lets words reach into the silence that follows."""
    if before and after:
        last = before[-1]
        before[-1] = replace(last, end=max(last.start, min(last.end, after[0].start)))


def _joined(
    before: list[Segment], after: list[Segment], shared_from: float, shared_to: float
) -> tuple[list[Segment], list[Segment]]:
    """Both sides without what the other says as well; the shared sound is from `shared_from` to `shared_to`."""
    left = _words(before, since=shared_from - _SLACK)
    right = _words(after, until=shared_to + _SLACK)
    match = SequenceMatcher(
        None, [word.sound for word in left], [word.sound for word in right], autojunk=False
    ).find_longest_match()
    if match.size:
        middle = match.size // 2
        stop, go = match.a + middle, match.b + middle
    else:
        centre = (shared_from + shared_to) / 2
        stop = sum(1 for word in left if word.start + word.end < 2 * centre)
        go = sum(1 for word in right if word.start + word.end < 2 * centre)
    left_part = _ending_before(before, left[stop]) if stop < len(left) else before
    return left_part, _following(after, right, go)


def _words(segments: list[Segment], since: float = -inf, until: float = inf) -> list[_Word]:
    """The words that end after `since` and start before `until`; the rest is not even taken apart."""
    within: list[_Word] = []
    for index, segment in enumerate(segments):
        if segment.end <= since or segment.start >= until:
            continue
        begin, pace = segment.start, (segment.end - segment.start) / max(1, len(segment.text))
        for match in WORD.finditer(segment.text):
            first, after = match.span()
            start, end = begin + first * pace, begin + after * pace
            if end > since and start < until and (sound := "".join(words(match.group()))):
                within.append(_Word(index, first, after, start, end, sound))
    return within


def _ending_before(segments: list[Segment], word: _Word) -> list[Segment]:
    """`segments` up to `word`, without it."""
    broken = segments[word.segment]
    text = broken.text[: word.first].rstrip()
    whole = segments[: word.segment]
    return [*whole, replace(broken, text=text, end=max(broken.start, word.start))] if text else whole


def _following(segments: list[Segment], shared: list[_Word], go: int) -> list[Segment]:
    """`segments` from the word `shared[go]` on."""
    if go == 0:
        return segments
    if go == len(shared):
        last = shared[-1]
        rest = segments[last.segment].text[last.after :].strip()
        whole = segments[last.segment + 1 :]
        return [replace(segments[last.segment], text=rest, start=last.end), *whole] if rest else whole
    word = shared[go]
    broken = segments[word.segment]
    return [replace(broken, text=broken.text[word.first :], start=word.start), *segments[word.segment + 1 :]]
