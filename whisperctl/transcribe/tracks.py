"""Which sound track of a recording is meant: by number, or by language. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from whisperctl.errors import WhisperctlError
from whisperctl.transcribe.sound import Track

_TERMINOLOGIC = {
    "alb": "sq", "arm": "hy", "baq": "eu", "bur": "my", "chi": "zh", "cze": "cs", "dut": "nl", "fre": "fr",
    "geo": "ka", "ger": "de", "gre": "el", "ice": "is", "mac": "mk", "mao": "mi", "may": "ms", "per": "fa",
    "rum": "ro", "slo": "sk", "tib": "bo", "wel": "cy",
    "ces": "cs", "deu": "de", "ell": "el", "eng": "en", "est": "et", "fas": "fa", "fra": "fr", "hrv": "hr",
    "jpn": "ja", "kor": "ko", "msa": "ms", "nld": "nl", "nor": "no", "nob": "no", "pol": "pl", "por": "pt",
    "ron": "ro", "rus": "ru", "slk": "sk", "slv": "sl", "spa": "es", "srp": "sr", "swe": "sv", "tur": "tr",
    "ukr": "uk", "vie": "vi", "zho": "zh", "dan": "da", "fin": "fi", "hun": "hu", "ita": "it", "heb": "he",
    "hin": "hi", "ara": "ar", "bul": "bg", "cat": "ca", "lit": "lt", "lav": "lv", "tha": "th", "ind": "id",
    "gle": "ga", "glg": "gl", "isl": "is", "mkd": "mk", "bos": "bs", "sqi": "sq", "hye": "hy", "eus": "eu",
    "kat": "ka", "mya": "my", "bod": "bo", "cym": "cy", "mri": "mi", "tam": "ta", "tel": "te", "urd": "ur",
    "ben": "bn", "afr": "af", "swa": "sw", "lat": "la", "yid": "yi",
}  # fmt: skip
"""Three-letter tags of containers (ISO 639-2, both kinds) -> Whisper's codes (ISO 639-1)."""


def chosen(tracks: Sequence[Track], choice: str | None) -> Track:
    """The track `choice`: a number from 1, or a language as a code of two or three letters; None is the first.

    Raises:
        WhisperctlError: there is none; the message follows the recording's name.
    """
    if choice is None:
        return tracks[0]
    if choice.isdecimal():
        match = [one for one in tracks if one.number == int(choice)]
    else:
        match = [one for one in tracks if one.language and _code(one.language) == _code(choice)]
    if not match:
        raise WhisperctlError(f"has no sound track {choice}, only {listed(tracks)}.")
    return match[0]


def listed(tracks: Sequence[Track]) -> str:
    """The tracks in words: `1 (eng), 2 (ger, comments)`."""
    return ", ".join(_described(one) for one in tracks)


def _described(track: Track) -> str:
    known = [one for one in (track.language, track.title) if one]
    return f"{track.number} ({', '.join(known)})" if known else str(track.number)


def _code(language: str) -> str:
    tag = language.casefold().partition("-")[0]
    return _TERMINOLOGIC.get(tag, tag)
