"""`proxy`: serve the endpoint on loopback with the token added."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from whisperctl.cli.options import DEFAULT_PATH, Settings
from whisperctl.cli.target import OpenEndpoint, open_endpoint, route, wake_up
from whisperctl.errors import EXIT_DONE

if TYPE_CHECKING:
    from whisperctl.endpoint.page import About


@click.command()
@click.argument("path", default=DEFAULT_PATH)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    metavar="N",
    help="Port on 127.0.0.1; 0 is a free one [8000].",
)
@click.pass_obj
def proxy(settings: Settings, path: str, port: int) -> int:
    """Serve the endpoint on loopback with the token added: a page to transcribe in a browser, and /docs.

    PATH is a stack file [stack.yaml]. Only pages of the proxy itself may use it. Ctrl-C ends it.
    """
    from whisperctl.endpoint.proxy import ADDRESS, bind

    with open_endpoint(settings, path) as target, bind(target.endpoint, port, _about(target)) as server:
        wake_up(target)
        click.echo(f"http://{ADDRESS}:{server.server_port}/")
        click.echo(f"Relaying to {target.endpoint.url}; Ctrl-C ends it.", err=True)
        server.serve_forever()
    return EXIT_DONE


def _about(target: OpenEndpoint) -> About:
    from whisperctl.endpoint.page import About
    from whisperctl.endpoint.snippets import curl
    from whisperctl.endpoint.transcription import ROUTES

    stack, url, task = target.stack, target.endpoint.url, route(target.stack)
    smoke = stack.rollout.smoke
    return About(
        stack=stack.name,
        model=stack.model.served_name,
        version=stack.vllm.version,
        url=url,
        route=ROUTES[task],
        language=(smoke.language if smoke else "") or "",
        curl=curl(url, stack.model.served_name, task, "recording.wav", public=target.token is None),
    )
