"""`proxy`: serve the endpoint on loopback with the token added."""

from __future__ import annotations

import click

from whisperctl.cli.options import DEFAULT_PATH, Settings
from whisperctl.cli.target import live, wake_up
from whisperctl.errors import EXIT_DONE


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
    """Serve the endpoint on loopback with the token added, so that a browser opens /docs.

    PATH is a stack file [stack.yaml]. Only pages of the proxy itself may use it. Ctrl-C ends it.
    """
    from whisperctl.endpoint.proxy import ADDRESS, bind

    with live(settings, path) as target, bind(target.endpoint, port) as server:
        wake_up(target)
        click.echo(f"http://{ADDRESS}:{server.server_port}/docs")
        click.echo(f"Relaying to {target.endpoint.url}; Ctrl-C ends it.", err=True)
        server.serve_forever()
    return EXIT_DONE
