"""Everything that loading stack files says of them, problems and warnings, as one value for `validate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from whisperctl.errors import Problem, SpecError
from whisperctl.spec import Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """The stacks that are right, and every problem."""

    stacks: tuple[Stack, ...]
    problems: tuple[Problem, ...]
    parts: tuple[str, ...] = ()
    """Files without `stack:`, which other files extend."""

    @property
    def valid(self) -> bool:
        """Whether no problem is an error."""
        return all(problem.severity != "error" for problem in self.problems)

    @classmethod
    def of(cls, paths: Sequence[Path], environ: Mapping[str, str]) -> Checked:
        """Load `paths` and keep what was found, good or bad; secrets may be missing, and parts are checked as parts."""
        from whisperctl.loading import load_stacks

        try:
            loaded = load_stacks(paths, environ, secrets=False, parts=True)
        except SpecError as error:
            return cls(stacks=(), problems=error.problems)
        return cls(stacks=loaded.stacks, problems=loaded.warnings, parts=loaded.parts)
