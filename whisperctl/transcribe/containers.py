"""Whether a file's first bytes are those of a sound or video container: what a folder is searched for. Pure.

From the containers' own specifications, as `file` and ffmpeg's demuxers know them. A name says nothing, but where the
bytes are no container either: a recording that lost its beginning is worth an error.
"""

from __future__ import annotations

HEAD = 400
"""Bytes that `is_recording` wants to see: two packets of an MPEG transport stream."""

_STARTS = (
    b"ID3", b"fLaC", b"OggS", b"\x1aE\xdf\xa3", b"caff", b".snd", b"FLV\x01", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3",
    b"0&\xb2u\x8ef\xcf\x11", b"#!AMR", b"\x0bw", b"\x7f\xfe\x80\x01", b"MAC ", b"wvpk", b"TTA1", b"MPCK", b"MP+",
    b".RMF", b".ra\xfd", b"\x02dss", b"\x03dss", b"\x03ds2", b"Creative Voice File", b"nut/multimedia container",
    b"\x06\x0e+4\x02\x05\x01\x01\r\x01\x02\x01\x01\x02", b"NIST_1A", b"ADIF", b"riff.\x91\xcf\x11", b"#!SILK",
    b"\x02#!SILK", b"VOLU", b"DSD ", b"FRM8", b"VQF", b"TWIN", b"LA02", b"LA03", b"LA04", b"OFR ", b"2BIT", b"\x64\xa3",
)  # fmt: skip
_RIFF_KINDS = (b"WAVE", b"AVI ", b"AMV ")
_FORM_KINDS = (b"AIFF", b"AIFC", b"8SVX", b"16SV", b"MAUD")
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof")
_PICTURES = (b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1", b"avif", b"avis", b"crx ", b"jp2 ")
"""Brands of still pictures in the box format of MP4."""
_MPEG_AUDIO = frozenset(
    {0xFB, 0xFA, 0xF3, 0xF2, 0xE3, 0xE2, 0xFD, 0xFC, 0xF5, 0xF4, 0xE5, 0xE4, 0xF1, 0xF0, 0xF9, 0xF8}
)
"""Second bytes of an MPEG layer 2 or 3 or ADTS frame; not 0xFE, which is also that of a UTF-16 text."""

SUFFIXES = frozenset(
    {".wav", ".mp3", ".m4a", ".m4b", ".flac", ".ogg", ".oga", ".opus", ".webm", ".aac", ".aiff", ".aif", ".amr", ".mka"}
    | {".wma", ".mp4", ".m4v", ".mkv", ".mov", ".avi", ".mpeg", ".mpg", ".mpga", ".3gp", ".wmv", ".flv", ".mts", ".caf"}
    | {".au", ".w64", ".mp2", ".spx", ".ac3", ".dss", ".mxf", ".ogv", ".gsm", ".ra", ".vob"}
)
"""Names that say recording: such a file is tried whatever its bytes."""


def is_recording(head: bytes) -> bool:
    """Whether a file that begins with `head` is a sound or video container."""
    if head.startswith(_STARTS):
        return True
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return head[8:12] in _RIFF_KINDS
    if head[:4] == b"FORM":
        return head[8:12] in _FORM_KINDS
    if head[4:8] in _BOXES:
        return not (head[4:8] == b"ftyp" and head[8:12] in _PICTURES)
    return _is_mpeg_audio(head) or _is_transport_stream(head)


def _is_mpeg_audio(head: bytes) -> bool:
    return len(head) > 3 and head[0] == 0xFF and head[1] in _MPEG_AUDIO and head[2] & 0xF0 != 0xF0


def _is_transport_stream(head: bytes) -> bool:
    """Sync bytes 188 bytes apart, also behind the four bytes of a Blu-ray's time code."""
    return any(
        head[at : at + 1] == b"G" and head[at + step : at + step + 1] == b"G" for at, step in ((0, 188), (4, 192))
    )
