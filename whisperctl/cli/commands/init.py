"""`init`: the first files of a repository."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import click

from whisperctl.errors import EXIT_DONE

GPUS = ("T4", "L4", "A10", "A100", "H100", "H200", "CPU")


@click.command()
@click.argument("folder", default=".", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--model", default="openai/whisper-small", show_default=True, metavar="NAME", help="Hugging Face id, or a folder."
)
@click.option(
    "--gpu",
    type=click.Choice(GPUS, case_sensitive=False),
    default="T4",
    show_default=True,
    metavar=f"[{'|'.join(GPUS)}]",
    help="What the instances have.",
)
@click.option("--ci", type=click.Choice(["github", "gitlab"]), help="Write a pipeline, too.")
def init(folder: Path, model: str, gpu: str, ci: str | None) -> int:
    """Write a commented stack.yaml, a recording and a .gitignore into DIR [.], and with --ci a pipeline.

    The recording is transcribed at the end of each apply, as the proof that the endpoint works. It is a synthetic
    voice, in the language that the model's name tells, else in English.

    The pipeline plans on a change request, with the plan as a comment; on main it plans, waits for an approval and
    applies that plan; once a day it looks for drift. Its first lines say what to set up. Asks nothing, overwrites
    nothing; the stack is named after DIR. A model folder is relative to DIR.
    """
    from whisperctl.scaffold import GITIGNORE, Pipeline, Start, write_start
    from whisperctl.spec import Gpu

    assert gpu in get_args(Gpu)
    start = Start(folder=folder, model=model, gpu=cast("Gpu", gpu), pipeline=cast("Pipeline | None", ci))
    names, warnings = write_start(start)
    for name in names:
        click.echo(folder / name)
    for warning in warnings:
        click.echo(str(warning), err=True)
    if GITIGNORE not in names:
        click.echo(f"note: {folder / GITIGNORE} was there and is left alone: let it hold *.plan and .env.", err=True)
    if ci and (top := _repository_above(folder)):
        click.echo(
            f"note: a pipeline counts at the repository's top only: move it to {top} and set STACKS in it.", err=True
        )
    _say_next(folder)
    return EXIT_DONE


def _repository_above(folder: Path) -> Path | None:
    """The top of the Git repository that `folder` lies in, unless it is the top itself."""
    parents = folder.resolve().parents
    return None if (folder / ".git").exists() else next((path for path in parents if (path / ".git").exists()), None)


def _say_next(folder: Path) -> None:
    there = "" if folder == Path() else f"cd {folder}\n  "
    click.echo(
        "Next: set UBIOPS_PROJECT and UBIOPS_API_TOKEN, read through stack.yaml, then\n"
        f"  {there}whisperctl doctor\n  whisperctl plan\n  whisperctl apply",
        err=True,
    )
