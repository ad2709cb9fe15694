"""`init`: the first files of a repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import click

from whisperctl.cli.options import Settings
from whisperctl.cli.output import echo
from whisperctl.errors import EXIT_DONE

if TYPE_CHECKING:
    from whisperctl.operate.importing import Import
    from whisperctl.scaffold import Pipeline

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
@click.option(
    "--from",
    "source",
    metavar="DEPLOYMENT[/VERSION]",
    help="Describe what runs already; '*' for every deployment of the project.",
)
@click.pass_context
def init(ctx: click.Context, folder: Path, model: str, gpu: str, ci: str | None, source: str | None) -> int:
    """Write a commented stack.yaml, a recording and a .gitignore into DIR [.], and with --ci a pipeline.

    The recording is transcribed at the end of each apply, as the proof that the endpoint works. It is a synthetic
    voice, in the language that the model's name tells, else in English.

    With --from the file describes a live deployment, as small as it can be, with a question where something cannot be
    told; `adopt` then takes the deployment over, and `plan` shows what would change.

    The pipeline plans on a change request, with the plan as a comment; on main it plans, waits for an approval and
    applies that plan; once a day it looks for drift. Its first lines say what to set up. Asks nothing, overwrites
    nothing; the stack is named after DIR. A model folder is relative to DIR.
    """
    from whisperctl.scaffold import Start, write_start
    from whisperctl.spec import Gpu

    pipeline = cast("Pipeline | None", ci)
    if source is not None:
        _refuse_with_source(ctx)
        return _from_live(ctx.obj, folder, source, pipeline)
    assert gpu in get_args(Gpu)
    start = Start(folder=folder, model=model, gpu=cast("Gpu", gpu), pipeline=pipeline)
    names, warnings = write_start(start)
    _say_written(folder, list(names))
    for warning in warnings:
        echo(str(warning), err=True)
    _say_left_alone(folder, list(names), ci)
    _say_next(folder)
    return EXIT_DONE


def _refuse_with_source(ctx: click.Context) -> None:
    for name in ("model", "gpu"):
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--from reads what runs: leave --{name} out.")


def _from_live(settings: Settings, folder: Path, source: str, pipeline: Pipeline | None) -> int:
    from whisperctl.cli.inputs import open_api
    from whisperctl.operate.importing import import_live
    from whisperctl.scaffold import write_described

    imported = import_live(open_api(settings), source)
    for line in imported.passed_over:
        click.echo(f"passed over: {line}", err=True)
    files = {name: description.text for name, description in imported.stacks.items()}
    for name, description in imported.stacks.items():
        files |= {str(Path(name).parent / beside): text for beside, text in description.files.items()}
    if not files:
        click.echo("Nothing of this project is to be described: no file was written.", err=True)
        return EXIT_DONE
    names = list(write_described(folder, files, pipeline))
    _say_written(folder, names)
    _say_left_alone(folder, names, pipeline)
    _say_open(folder, imported)
    return EXIT_DONE


def _say_written(folder: Path, names: list[str]) -> None:
    for name in names:
        click.echo(folder / name)


def _say_left_alone(folder: Path, names: list[str], ci: str | None) -> None:
    """What was left alone, and what has to be moved."""
    from whisperctl.scaffold import GITIGNORE

    if GITIGNORE not in names:
        echo(f"note: {folder / GITIGNORE} was there and is left alone: let it hold *.plan and .env.", err=True)
    if ci and (top := _repository_above(folder)):
        echo(f"note: a pipeline counts at the repository's top only: move it to {top} and set STACKS in it.", err=True)


def _say_open(folder: Path, imported: Import) -> None:
    """The questions, and what is to be done before the file can be used."""
    for name, description in imported.stacks.items():
        for question in description.questions:
            click.echo(f"{folder / name}: {question}", err=True)
    click.echo("Next:", err=True)
    for name, description in imported.stacks.items():
        first = "validate" if description.refused else "adopt"
        click.echo(f"  whisperctl {first} {folder / name}", err=True)
    click.echo(
        f"  whisperctl plan {folder if len(imported.stacks) > 1 else folder / next(iter(imported.stacks))}", err=True
    )


def _repository_above(folder: Path) -> Path | None:
    """The top of the Git repository that `folder` lies in, unless it is the top itself."""
    parents = folder.resolve().parents
    return None if (folder / ".git").exists() else next((path for path in parents if (path / ".git").exists()), None)


def _say_next(folder: Path) -> None:
    there = "" if folder == Path() else f"cd {folder}\n  "
    unset = " and ".join(name for name in ("UBIOPS_PROJECT", "UBIOPS_API_TOKEN") if not os.environ.get(name))
    click.echo(
        f"Next: {f'set {unset}, ' if unset else ''}read through stack.yaml, then\n"
        f"  {there}whisperctl doctor\n  whisperctl plan\n  whisperctl apply",
        err=True,
    )
