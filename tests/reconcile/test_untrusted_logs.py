"""What a build prints is somebody else's text: it steers no terminal, no CI job, and repeats no secret."""

from __future__ import annotations

import pytest

from tests.harness.project import Project
from whisperctl.untrusted import harmless, printable_lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("plain\n", ["plain"]),
        ("", [""]),
        ("one\r\ntwo", ["one", "two"]),
        (" 10%\r 50%\r100%\r\n", ["100%"]),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b(B", ["red link"]),
        ("a\x9b2Jb\x00c\u202ed", ["a\ufffd2Jb\ufffdc\ufffdd"]),
        ("\x1b", [""]),
        ("tab\there, ünïcode 語", ["tab\there, ünïcode 語"]),
    ],
)
def test_escape_sequences_and_control_characters_go(text: str, lines: list[str]) -> None:
    assert printable_lines(text) == lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("::error::x", ": :error::x"),
        ("a\n    ::error::x\r ::y::", "a\n    : :error::x\r : :y::"),
        ("a ##[add-mask]x", "a # #[add-mask]x"),
        ("std::vector a::b", "std::vector a::b"),
    ],
)
def test_no_workflow_command_comes_from_a_log(monkeypatch: pytest.MonkeyPatch, text: str, shown: str) -> None:
    assert harmless(text) == text
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert harmless(text) == shown


def test_a_failed_build_tells_no_secret_and_sends_no_escape_sequence(project: Project) -> None:
    file = str(project.write(env={"HUB": {"value": "${HUB_SECRET}", "secret": True}}))
    project.fault("build-fail", count=1, text="\x1b[2Jusing canary-hunter2\n::error::\x07no space left")
    ran = project.cli("apply", "--yes", file, HUB_SECRET="canary-hunter2", GITHUB_ACTIONS="true")
    assert ran.code == 1
    assert "using (secret)\n" in ran.err
    assert ": :error::\ufffdno space left\n" in ran.err
    assert not any(line.lstrip().startswith("::error") for line in ran.err.splitlines())
    assert "canary" not in ran.err
    assert "\x1b" not in ran.err
