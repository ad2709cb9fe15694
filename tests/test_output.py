"""The one place where text leaves: no form of a secret, no control character, no workflow command of others."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperctl import output
from whisperctl.spellings import pattern

SECRET = "s3cr+t/& ä\"é\\'x"
"""Every character that some encoding changes."""


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    output.forget()
    output.learn(SECRET, "-----BEGIN KEY-----\nAbCdEfGh12345\nshort\n-----END KEY-----", "1234")
    output.learn_token("Token 0123456789abcdef")
    yield
    output.forget()


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        quote(SECRET, safe="").lower(),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(json.dumps(SECRET)),
        repr(SECRET),
        quote(SECRET, safe="").replace("%2F", "%2f"),
        quote(SECRET, safe="!'()*-._~"),
        quote(quote(SECRET, safe=""), safe=""),
        html.escape(SECRET),
        html.escape(SECRET).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
        json.dumps(SECRET).replace("&", "\\u0026").replace("\\u00e4", "\\u00E4"),
        json.dumps(html.escape(SECRET)),
        repr(SECRET.encode()),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"user:" + SECRET.encode()).decode(),
        base64.urlsafe_b64encode(b"x" + SECRET.encode() + b"y").decode(),
        "AbCdEfGh12345",
    ],
)
def test_no_form_of_a_secret_leaves(form: str) -> None:
    text = output.blank(f"before {form} behind")
    assert "(secret)" in text
    assert text.startswith("before ")
    assert text.endswith(" behind")
    assert SECRET not in text
    assert "s3cr" not in text.lower()


@pytest.mark.parametrize(
    "form", ["0123456789abcdef", "Authorization: Token 0123456789abcdef", "Bearer 0123456789abcdef"]
)
def test_the_token_leaves_in_no_form(form: str) -> None:
    assert "0123456789abcdef" not in output.blank(form)
    assert "(token)" in output.blank(form)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://user:pass@host:8080/v2", "https://(secret)@host:8080/v2"),
        ("http://token@host/", "http://(secret)@host/"),
        (
            "http://USER:PASSWORD@HOST:PORT, http://user:password@host:1",
            "http://USER:PASSWORD@HOST:PORT, http://(secret)@host:1",
        ),
        ("https://host/a@b?c=d@e", "https://host/a@b?c=d@e"),
        ("mail me@example.test", "mail me@example.test"),
    ],
)
def test_the_user_of_a_url_is_blanked(text: str, left: str) -> None:
    assert output.blank(text) == left


@given(
    st.text(min_size=8, max_size=30).filter(lambda word: len(word.strip()) >= 8),
    st.lists(st.integers(0, 7), min_size=30, max_size=30),
)
def test_any_word_is_matched_however_each_character_was_escaped(word: str, ways: list[int]) -> None:
    word = word.encode("utf-8", "replace").decode()
    escapes: list[Callable[[str], str]] = [
        str, quote, quote_plus, html.escape, lambda one: json.dumps(one)[1:-1],
        lambda one: json.dumps(json.dumps(one))[3:-3],
        lambda one: one if one.isalnum() else quote(one, safe="").lower(),
        lambda one: one if one.isalnum() else f"&#{ord(one)};",
    ]  # fmt: skip
    text = "".join(escapes[way](one) for one, way in zip(word, ways, strict=False))
    assert re.fullmatch(pattern(word), text), (word, text)


def test_no_word_makes_the_expression_slow() -> None:
    for word in ("\\" * 40, '\\"' * 40, " %" * 40, "+ " * 40):
        assert re.search(pattern(word + "x"), (word + "y") * 200) is None


def test_a_short_secret_counts_as_a_whole_value_only() -> None:
    assert output.blank("maximum 12345") == "maximum 12345"
    assert output.cleaned({"a": "1234", "b": ["12345"], "1234": True}) == {
        "a": "(secret)", "b": ["12345"], "(secret)": True,
    }  # fmt: skip


def test_a_common_word_is_no_secret() -> None:
    output.learn("true", "transcription", "None")
    assert output.cleaned(["true", "transcription", "None"]) == ["true", "transcription", "None"]


@pytest.mark.parametrize("text", ["\x1b]0;title\x07", "a\rb", "\x1b[2J", "\u202egnp.exe", "\x9b2J", "\x00", "\ud800"])
def test_nothing_steers_a_terminal(text: str) -> None:
    left = output.clean(text)
    assert left.isprintable() or "\ufffd" in left
    assert not any(character in left for character in "\x1b\x07\r\x9b\x00\u202e\ud800")


@given(st.text())
def test_any_text_leaves_through_a_guarded_stream(text: str) -> None:
    into = io.StringIO()
    output.Outgoing(into).write(text)
    into.getvalue().encode()
    assert "\x07" not in into.getvalue()


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_value_is_serialised_cleaned(value: Any) -> None:
    text = output.json_text([value, SECRET, {SECRET: "x"}])
    assert "s3cr" not in text
    json.loads(text)


def test_streams_are_guarded_and_given_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UBIOPS_API_TOKEN_DEMO", "Token fedcba9876543210")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    before = sys.stdout
    with output.guarded():
        output.learn(SECRET)
        print(SECRET, "fedcba9876543210\n::error::x \x1b]8;;x\x07")
        print(SECRET, file=output.verbatim(sys.stdout))
        output.workflow_command("::group::ours", sys.stdout)
        output.drawing(sys.stdout).write("\x1b[2K\r" + SECRET + "\n")
    assert sys.stdout is before
    lines = capsys.readouterr().out.split("\n")
    assert lines[:3] == ["(secret) (token)", ": :error::x \ufffd]8;;x\ufffd", SECRET]
    assert lines[3:5] == ["::group::ours", "\x1b[2K\r(secret)"]


def test_a_long_run_of_backslashes_is_looked_through_once() -> None:
    known = re.compile(pattern("-----BEGIN PRIVATE KEY-----\nabcdefgh"))
    line = "\\" * 3000
    assert known.sub("***", line) == line  # it took minutes while every split of the run was tried
