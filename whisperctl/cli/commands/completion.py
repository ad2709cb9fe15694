"""`completion`: the shell's own completion script, as click makes it."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from whisperctl.errors import EXIT_DONE

PROGRAM = "whisperctl"
VARIABLE = "_WHISPERCTL_COMPLETE"
"""What click looks for in the environment when the script asks for words."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print the completion script for a shell.

    \b
    bash: whisperctl completion bash > ~/.local/share/bash-completion/completions/whisperctl
    zsh:  whisperctl completion zsh > "${fpath[1]}/_whisperctl"
    fish: whisperctl completion fish > ~/.config/fish/completions/whisperctl.fish
    """
    script = get_completion_class(shell)
    assert script is not None, f"click has no completion for {shell}"
    click.echo(script(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())
    return EXIT_DONE
