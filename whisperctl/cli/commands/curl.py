"""`curl`: print curl and OpenAI SDK snippets, or another client's settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from whisperctl.cli.options import DEFAULT_PATH, Settings
from whisperctl.cli.target import open_endpoint, route
from whisperctl.errors import EXIT_DONE

if TYPE_CHECKING:
    from whisperctl.endpoint.client_settings import Client
    from whisperctl.endpoint.transcription import Task


CLIENTS = click.Choice(["openai", "litellm", "open-webui", "n8n", "langchain"])


@click.command()
@click.argument("path", default=DEFAULT_PATH)
@click.option("--for", "client", type=CLIENTS, help="Settings of that program instead.")
@click.pass_obj
def curl(settings: Settings, path: str, client: Client | None) -> int:
    """Print curl and OpenAI SDK snippets for the endpoint, or the settings of a program that uses it.

    PATH is a stack file [stack.yaml]. They take the token from $UBIOPS_API_TOKEN.
    """
    with open_endpoint(settings, path) as target:
        stack, url, public = target.stack, target.endpoint.url, target.token is None
    declared = stack.rollout.smoke
    audio = os.path.relpath(declared.audio) if declared else "audio.wav"
    if client:
        _settings(client, url, stack.model.served_name, audio, public)
    else:
        _snippets(url, stack.model.served_name, route(stack), audio, public)
    return EXIT_DONE


def _snippets(url: str, model: str, task: Task, audio: str, public: bool) -> None:
    from whisperctl.endpoint import snippets

    click.echo(f"# curl; the token is taken from ${snippets.VARIABLE} and shows in no process list")
    click.echo(snippets.curl(url, model, task, audio, public=public))
    click.echo("# Python with the official OpenAI SDK (pip install openai)")
    click.echo(snippets.python(url, model, task, audio, public=public), nl=False)


def _settings(client: Client, url: str, model: str, audio: str, public: bool) -> None:
    from whisperctl.endpoint import client_settings

    click.echo(client_settings.settings(client, url, model, audio, public=public), nl=False)
    click.echo(f"note: {client_settings.note(client, model)}", err=True)
