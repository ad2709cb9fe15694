"""`whisperctl emulator`: a local UbiOps. Only flags in, one call, exit code out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TextIO, cast

import click


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0: any free port.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=".whisperctl-emulator",
    show_default=True,
    help="Folder of the emulator's state.",
)
@click.option(
    "--write-token",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the API token (mode 0600); default: token in the data folder.",
)
@click.option(
    "--speed", type=click.FloatRange(min=0.001), default=1.0, show_default=True, help="Times UbiOps' own pace."
)
@click.option(
    "--runtime",
    type=click.Choice(["process", "none"]),
    default="process",
    show_default=True,
    help="Run packages in processes, or only keep the books.",
)
@click.option(
    "--builds",
    type=click.Choice(["check", "venv"]),
    default="check",
    show_default=True,
    help="Check that requirements are installed, or install them.",
)
@click.option(
    "--python", type=click.Path(exists=True, dir_okay=False), help="Interpreter that runs packages; default: this one."
)
@click.option("--fault", "faults", multiple=True, metavar="KIND[,FIELD=VALUE…]", help="A fault from the start on.")
@click.option("--switch", "switches", multiple=True, metavar="NAME=VALUE", help="An undocumented choice of UbiOps.")
@click.option(
    "--capacity", "capacities", multiple=True, metavar="TYPE=N", help="Room for N instances of an instance type."
)
@click.option("--service-traffic-wakes", is_flag=True, help="Requests to a service wake an instance.")
@click.option("--rate-limit", type=click.IntRange(min=0), default=0, help="Requests a minute; UbiOps: 300. 0: off.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
def emulator(**options: Any) -> None:
    """Serve a local UbiOps on 127.0.0.1, and print the export lines to use it."""
    try:
        from ubiops_emulator.start import run
    except ModuleNotFoundError as err:
        raise click.ClickException(
            f"the emulator needs {err.name}: install it with pip install 'whisperctl-ubiops[emulator]'"
        ) from err
    from whisperctl.output import verbatim

    sys.stdout = cast(TextIO, verbatim(sys.stdout))  # it prints a token of its own
    raise SystemExit(run(options))
