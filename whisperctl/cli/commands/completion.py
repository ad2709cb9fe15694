"""`completion`: the shell's own completion script, as click makes it."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from whisperctl.errors import EXIT_DONE, WhisperctlError

PROGRAM = "whisperctl"
VARIABLE = "_WHISPERCTL_COMPLETE"
"""What click looks for in the environment when the script asks for words."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--install", is_flag=True, help="Write it where the shell looks for it, in your home.")
@click.pass_context
def completion(ctx: click.Context, shell: str, install: bool) -> int:
    """Print the completion script for a shell, or install it with --install.

    \b
    bash: ~/.local/share/bash-completion/completions/whisperctl
    zsh:  ~/.local/share/zsh/site-functions/_whisperctl
    fish: ~/.config/fish/completions/whisperctl.fish
    """
    script = get_completion_class(shell)
    assert script is not None, f"click has no completion for {shell}"
    source = script(ctx.find_root().command, {}, PROGRAM, VARIABLE).source()
    if not install:
        click.echo(source)
        return EXIT_DONE
    place = _place(shell)
    _write(place, source)
    click.echo(place)
    click.echo(f"note: {_next(shell, place)}", err=True)
    return EXIT_DONE


def _write(place: Path, script: str) -> None:
    """Put the script there.

    Raises:
        WhisperctlError: it cannot be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(script + "\n", encoding="utf-8")
    except OSError as error:
        raise WhisperctlError(f"{place} cannot be written: {error.strerror}.") from None


def _place(shell: str) -> Path:
    """The file that the shell loads by itself, by the XDG folders."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    match shell:
        case "bash":
            return data / "bash-completion" / "completions" / PROGRAM
        case "zsh":
            return data / "zsh" / "site-functions" / f"_{PROGRAM}"
        case _:
            return config / "fish" / "completions" / f"{PROGRAM}.fish"


def _next(shell: str, place: Path) -> str:
    """What is left to do."""
    match shell:
        case "bash":
            return "new shells complete it, where the package bash-completion is installed."
        case "zsh":
            return f"new shells complete it, with this before compinit in ~/.zshrc: fpath+=({place.parent})"
        case _:
            return "new shells complete it."
