"""Someone at a prompt: a folder with a stack file, and variables that point to an emulator."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness import program
from tests.harness.program import Ran
from tests.harness.terminal import Terminal
from ubiops_emulator.testing import Emulator


@dataclass(slots=True)
class Operator:
    """Commands typed in `folder`; `environ` holds variables that last from one to the next."""

    folder: Path
    emulator: Emulator
    environ: dict[str, str] = field(default_factory=dict)

    def env(self, **more: str) -> dict[str, str]:
        """All variables of a command; an empty one is taken away."""
        return program.environment(self.emulator, **(self.environ | more))

    def run(self, *args: str, **env: str) -> Ran:
        """A command, inside this process."""
        return program.run(*args, environ=self.env(**env), folder=self.folder)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """A command that goes on; its streams are pipes."""
        return program.start(*args, environ=self.env(), folder=self.folder)

    def terminal(self, *args: str, **env: str) -> Terminal:
        """A command on a terminal."""
        return Terminal(*args, environ=self.env(**({"TERM": "xterm-256color"} | env)), folder=self.folder)

    def good(self, *args: str) -> Ran:
        """A command that must succeed."""
        ran = self.run(*args)
        assert ran.code == 0, f"{args}: {ran}"
        return ran

    def write(self, text: str, name: str = "stack.yaml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path
