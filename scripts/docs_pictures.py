#!/usr/bin/env python3
"""Takes the pictures in docs/img/: whisperctl's commands run in a pseudo-terminal, and its screen drawn as SVG.

Starts a local UbiOps with a real vLLM, as `make demo` does, and stops it in the end. What is drawn is what a terminal
of this size shows when the command has ended: colours, progress bars and line breaks are the program's own. pyte
interprets the escape sequences, rich draws the screen.

The pictures of rollouts (`scripts/docs_pictures.py rollouts` takes those alone) have the tests' stand-in for vLLM
behind them, which hears what its environment tells it to: so a version that mishears is one changed line.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.rollout.conftest import interpreter
from ubiops_emulator import testing

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "img"
COLUMNS, ROWS = 110, 200
FILE = "specs/demo.yaml"
LINE = "stack.yaml"
ROLLOUT = """\
apiVersion: whisperctl/v1
stack: whisper-prod
model: {name: openai/whisper-small, revision: 973afd24965f72e36ca33b3055d56a652f456b4d}
vllm: {version: 0.32.0}
deployment: {name: whisper}
instance_type_group: {name: 16384 MB + 4 vCPU, gpu: CPU}
version:
  name: v1
  minimum_instances: 1
  health_check: {port: 8080, path: /health, interval: 1, timeout: 1}
env:
  VLLM_CPU_KVCACHE_SPACE: "1"
  HEARS: hello world this is a test
service: {name: whisper, port: 8080}
rollout:
  strategy: blue_green
  bake: 5
  smoke: {audio: hello-world.wav, expect: hello world this is a test, max_wer: 0.1, language: en}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One command and what is kept of it."""

    command: str
    name: str = ""
    """Of the file; none is written without it."""
    lines: int = ROWS
    """At most so many from the end."""
    moment: str = ""
    """The last screen that shows this; without it the one that the command leaves."""
    edits: tuple[tuple[str, str], ...] = ()
    """What to replace by what in the stack file before."""
    file: str = FILE
    code: int = 0
    """What it must end with."""


PICTURES = (
    Picture(command=f"apply --yes {FILE}", name="apply", lines=16, moment="proving the endpoint..."),
    Picture(command=f"transcribe -f {FILE} -o text specs/samples", name="transcribe", moment="real time"),
    Picture(command=f"smoke {FILE}", name="smoke"),
    Picture(
        command=f"plan {FILE}",
        name="plan",
        edits=(("maximum_instances: 1", "maximum_instances: 2"), ('HF_HUB_OFFLINE: "1"', 'MAX_MODEL_LEN: "224"')),
    ),
    Picture(command=f"destroy --yes {FILE}"),
)
ROLLOUTS = (
    Picture(command=f"apply --yes {LINE}", file=LINE),
    Picture(
        command=f"apply --yes {LINE}",
        name="rollout-gated",
        lines=22,
        file=LINE,
        edits=(('VLLM_CPU_KVCACHE_SPACE: "1"', 'VLLM_CPU_KVCACHE_SPACE: "2"'),),
    ),
    Picture(
        command=f"apply --yes {LINE}",
        name="rollout-refused",
        lines=27,
        file=LINE,
        code=1,
        edits=(("HEARS: hello world this is a test", "HEARS: yellow word miss is a nest"),),
    ),
    Picture(command=f"plan {LINE}", name="rollout-refused-plan", file=LINE, lines=18),
    Picture(command=f"rollback --yes {LINE}", name="rollout-rolled-back", file=LINE),
    Picture(command=f"history {LINE}", name="rollout-history", file=LINE),
)
WITHOUT_FETCHED_FONTS = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    if sys.argv[1:] != ["rollouts"]:
        take_servers()
    take_rollouts()


def take_rollouts() -> None:
    """Those of a line of versions, with a stand-in for vLLM."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "whisper"
        work.mkdir()
        (work / LINE).write_text(ROLLOUT)
        shutil.copy(ROOT / "specs/samples/hello-world.wav", work)
        python = interpreter(Path(scratch) / "python")
        with testing.running("--speed", "1000", "--python", str(python)) as emulator:
            take(ROLLOUTS, work, {**os.environ, **emulator.environ, "TERM": "xterm-256color"})


def take_servers() -> None:
    """Those with a real vLLM."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "whisper"
        shutil.copytree(ROOT / "specs", work / "specs")
        with testing.running("--speed", "1000") as emulator:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            environment = {**os.environ, **emulator.environ, "PATH": path, "TERM": "xterm-256color"}
            take(PICTURES, work, environment)


def take(pictures: Sequence[Picture], work: Path, environment: Mapping[str, str]) -> None:
    """One after the other, in one folder."""
    for picture in pictures:
        for before, after in picture.edits:
            (work / picture.file).write_text((work / picture.file).read_text().replace(before, after))
        lines = shown(picture, work, environment)
        if picture.name:
            draw(picture, lines)


def shown(picture: Picture, folder: Path, environment: Mapping[str, str]) -> list[Text]:
    """The lines of the screen that the command leaves, or of the wanted moment."""
    screen = pyte.Screen(COLUMNS, ROWS)
    screen.set_mode(pyte.modes.LNM)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    command = [sys.executable, "-m", "whisperctl", *picture.command.split()]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    last: list[Text] = []
    while chunk := read(ours):
        stream.feed(chunk)
        if picture.moment and any(picture.moment in line for line in screen.display):
            last = lines_of(screen)
    os.close(ours)
    if (code := process.wait()) != picture.code:
        sys.exit(f"whisperctl {picture.command} ended with {code}:\n" + "\n".join(screen.display).rstrip())
    return last or lines_of(screen)


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the last process has closed its side
        return b""


def draw(picture: Picture, lines: list[Text]) -> None:
    file = IMAGES / f"{picture.name}.svg"
    prompt = Text(f"$ whisperctl {picture.command}", style="bold")
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text("\n").join([prompt, *lines[-picture.lines :]]))
    console.save_svg(str(file), title="whisperctl", code_format=WITHOUT_FETCHED_FONTS, unique_id=picture.name)
    print(f"wrote {file.relative_to(ROOT)} ({file.stat().st_size // 1024} KiB)")


def lines_of(screen: pyte.Screen) -> list[Text]:
    """What the screen shows, with its colours, without the empty lines at its end."""
    lines = [line_of(screen, row) for row in range(ROWS)]
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def line_of(screen: pyte.Screen, row: int) -> Text:
    line = Text(no_wrap=True)
    cells = [screen.buffer[row][column] for column in range(COLUMNS)]
    for style, alike in groupby(cells, key=style_of):
        line.append("".join(cell.data for cell in alike), style)
    line.rstrip()
    return line


def style_of(cell: pyte.screens.Char) -> Style:
    return Style(
        color=color(cell.fg), bgcolor=color(cell.bg), bold=cell.bold, italic=cell.italics, reverse=cell.reverse
    )


def color(name: str) -> str | None:
    """pyte's name of a colour as rich's."""
    if name == "default":
        return None
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    return name.replace("bright", "bright_").replace("brown", "yellow")


if __name__ == "__main__":
    main()
