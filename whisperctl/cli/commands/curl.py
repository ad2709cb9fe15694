"""`curl`: print curl and OpenAI SDK snippets."""

from __future__ import annotations

import os

import click

from whisperctl.cli.options import DEFAULT_PATH, Settings
from whisperctl.cli.target import live, route
from whisperctl.errors import EXIT_DONE


@click.command()
@click.argument("path", default=DEFAULT_PATH)
@click.pass_obj
def curl(settings: Settings, path: str) -> int:
    """Print curl and OpenAI SDK snippets for the endpoint.

    PATH is a stack file [stack.yaml]. They take the token from $UBIOPS_API_TOKEN.
    """
    from whisperctl.endpoint import snippets

    with live(settings, path) as target:
        stack, url = target.stack, target.endpoint.url
    declared = stack.rollout.smoke
    audio = os.path.relpath(declared.audio) if declared else "audio.wav"
    about = (url, stack.model.served_name, route(stack), audio)
    click.echo(f"# curl; the token is taken from ${snippets.VARIABLE} and shows in no process list")
    click.echo(snippets.curl(*about, public=target.token is None))
    click.echo("# Python with the official OpenAI SDK (pip install openai)")
    click.echo(snippets.python(*about, public=target.token is None), nl=False)
    return EXIT_DONE
