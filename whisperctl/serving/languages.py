"""Languages as people write them, and as a request names them. Pure.

Names and aliases as in openai-whisper's tokenizer.py (LANGUAGES, TO_LANGUAGE_CODE); the order is the catalogue's.
"""

from __future__ import annotations

import difflib

from whisperctl.serving import catalog

_NAMES = (
    "english,chinese,german,spanish,russian,korean,french,japanese,portuguese,turkish,polish,catalan,dutch,arabic,"
    "swedish,italian,indonesian,hindi,finnish,vietnamese,hebrew,ukrainian,greek,malay,czech,romanian,danish,hungarian,"
    "tamil,norwegian,thai,urdu,croatian,bulgarian,lithuanian,latin,maori,malayalam,welsh,slovak,telugu,persian,latvian,"
    "bengali,serbian,azerbaijani,slovenian,kannada,estonian,macedonian,breton,basque,icelandic,armenian,nepali,"
    "mongolian,bosnian,kazakh,albanian,swahili,galician,marathi,punjabi,sinhala,khmer,shona,yoruba,somali,afrikaans,"
    "occitan,georgian,belarusian,tajik,sindhi,gujarati,amharic,yiddish,lao,uzbek,faroese,haitian creole,pashto,turkmen,"
    "nynorsk,maltese,sanskrit,luxembourgish,myanmar,tibetan,tagalog,malagasy,assamese,tatar,hawaiian,lingala,hausa,"
    "bashkir,javanese,sundanese,cantonese"
)
_ALIASES = {
    "burmese": "my", "valencian": "ca", "flemish": "nl", "haitian": "ht", "letzeburgesch": "lb", "pushto": "ps",
    "panjabi": "pa", "moldavian": "ro", "moldovan": "ro", "sinhalese": "si", "castilian": "es", "mandarin": "zh",
    "farsi": "fa", "jv": "jw", "nb": "no", "iw": "he",
}  # fmt: skip
DETECTED = "auto"
"""Written for a language that the server is to detect."""


def code(language: str) -> str | None:
    """The code of `language` (`en`, `EN`, `en-US`, `English`), or None if Whisper has none for it."""
    text = language.strip().casefold().replace("_", "-")
    codes = catalog.language_codes()
    named = dict(zip(_NAMES.split(","), codes, strict=True)) | _ALIASES
    for candidate in (text, text.partition("-")[0]):
        if candidate in codes:
            return candidate
        if candidate in named:
            return named[candidate]
    return None


def nearest(language: str) -> str:
    """A name or code close to `language`, or empty."""
    known = [*_NAMES.split(","), *_ALIASES, *catalog.language_codes()]
    return next(iter(difflib.get_close_matches(language.strip().casefold(), known, n=1)), "")
