"""The `whisperctl` program: global options, a lazily loaded command each, one message and one exit code per failure.

Importing this module must stay cheap: nothing but click and the error tree. A command's module, and what it needs,
is imported when that command runs.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from whisperctl import __version__
from whisperctl.cli.options import Settings, global_options
from whisperctl.cli.output import echo
from whisperctl.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, Interrupted, WhisperctlError

COMMANDS: dict[str, str] = {
    "init": "Write a commented stack.yaml, and a pipeline if asked.",
    "validate": "Check stack files without any connection.",
    "schema": "Print the JSON Schema of stack.yaml, or of what a command prints as JSON.",
    "render": "Write the deployment package as it would be uploaded.",
    "plan": "Show what differs between the stack files and the live project.",
    "show": "Show what a saved plan would do.",
    "apply": "Make the live project match the stack files, and prove that it transcribes.",
    "destroy": "Delete what a stack owns, and nothing else.",
    "list": "List every stack of the project: state, cost, origin; orphans and leaks.",
    "drift": "Show what changed on UbiOps since the last apply.",
    "status": "Show resources, revision, instances, endpoint and health.",
    "output": "Print the endpoint's URL and other values for scripts.",
    "smoke": "Test the live endpoint: health, models, transcription, translation, SDK.",
    "transcribe": "Transcribe audio files with the live endpoint.",
    "bench": "Put load on the live endpoint: throughput, latency, errors, word error rate.",
    "curl": "Print curl and OpenAI SDK snippets, or another client's settings.",
    "proxy": "Serve the endpoint on loopback with the token added, for a browser.",
    "logs": "Show build and instance logs.",
    "scale": "Set minimum and maximum instances.",
    "pause": "Put the endpoint to sleep: minimum_instances to 0.",
    "resume": "Wake a paused endpoint.",
    "restart": "Replace every running instance, one after the other.",
    "history": "List the revisions of the version.",
    "rollback": "Go back to an earlier revision.",
    "watch": "Plan again and again; tell drift, failures and leaks once, and heal if asked.",
    "usage": "Show credits, requests, instance hours and audio hours, day by day.",
    "adopt": "Take over existing objects that match the spec's names.",
    "doctor": "Check token, permissions, project, instance types and clients.",
    "emulator": "Run a local UbiOps on this machine.",
    "completion": "Print or install the shell completion script.",
}
"""Command name -> its one-line help. The command of that name is in the module `whisperctl.cli.commands.NAME`."""

ELSEWHERE = {
    "diff": "plan", "preview": "plan", "template": "render", "lint": "validate", "fmt": "validate",
    "get": "status", "describe": "status", "ls": "list", "ps": "list", "outputs": "output", "refresh": "drift",
    "import": "adopt", "install": "apply", "upgrade": "apply", "deploy": "apply", "create": "apply", "up": "apply",
    "uninstall": "destroy", "delete": "destroy", "down": "destroy", "undo": "rollback", "log": "logs",
    "port-forward": "proxy", "test": "smoke", "rollout": "history", "new": "init", "taint": "restart", "state": "list",
    "rm": "destroy",
}  # fmt: skip
"""What Terraform, kubectl and Helm call it -> our command."""

OPTIONS_ELSEWHERE = {
    "auto-approve": "Write `--yes`.", "target": "Write `--only`.", "out": "Write `-o FILE`.",
    "no-color": "Write `--color never`.", "json": "Write `--format json`.", "raw": "Name one value: `url`, `model`, …",
    "var": "Set an environment variable: the file takes `${NAME}`.", "replicas": "Write `--min N --max N`.",
    "n": "Write `--tail N`.", "o": "Write `--format json`.", "w": "Write `--watch`.",
    "f": "Write the PATH alone.", "filename": "Write the PATH alone.", "dry-run": "`whisperctl plan` is that.",
}  # fmt: skip
"""Terraform's and kubectl's options -> what to write here, where it has another name."""

UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What stdout answers where it takes no more. Commands that write files themselves tell of those by name."""


class Commands(click.Group):
    """The command table, each imported when it is run; `--help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every command, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import and return the command called `cmd_name`; it takes the global options too, as kubectl's do."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"whisperctl.cli.commands.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        known = {parameter.name for parameter in command.params}
        command.params += [option for option in global_options(hidden=True) if option.name not in known]
        for parameter in command.params:
            if parameter.type is click.STRING and _names_a_file(parameter):
                parameter.type = click.Path()  # so that a shell completes it
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest known name when there is no such command."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = [ELSEWHERE[args[0]]] if args[0] in ELSEWHERE else get_close_matches(args[0], COMMANDS, n=1)
            near = [f"--{args[0]}"] if args[0] in ("help", "version") else near
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table itself: no command is imported to print it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _names_a_file(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Argument) or parameter.metavar in ("FILE", "DIR", "PATH")


@click.command(cls=Commands, params=global_options(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="whisperctl", message="%(prog)s %(version)s")
@click.pass_context
def whisperctl(ctx: click.Context) -> None:
    """Infrastructure as code for speech recognition.

    A stack.yaml declares a Whisper model served by vLLM on UbiOps; plan shows what differs, apply makes it so
    and proves that it transcribes, destroy removes it.

    The token is read from UBIOPS_API_TOKEN or --token-file, never from an argument.
    """
    ctx.ensure_object(Settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit: 0, 1, 2 (changes pending), 64 (usage) or 130 (interrupted).

    Args:
        arguments: those of the command line, without the program's name; `sys.argv` has them if left out.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115 - pathlib is dear, and it stays open
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    if sys.stdout is None:
        click.echo("error: The output cannot be written: standard output is closed.", err=True)
        sys.exit(EXIT_FAILED)
    from whisperctl.output import guarded

    with guarded():
        code = _exit_code(arguments, Settings())
        try:
            sys.stdout.flush()
        except OSError as error:
            code = _give_up_output(error)
    sys.exit(code)


def _exit_code(arguments: Sequence[str] | None, settings: Settings) -> int:
    """Run the command; every failure becomes one message and its exit code."""
    try:
        code: Any = whisperctl.main(arguments, standalone_mode=False, obj=settings, prog_name="whisperctl")
    except click.UsageError as error:
        _respelt(error, arguments).show()
        code = EXIT_USAGE
    except click.ClickException as error:
        error.show()
        code = EXIT_FAILED
    except (WhisperctlError, Interrupted) as error:
        echo(f"error: {error}" if not getattr(error, "problems", None) else str(error), err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = EXIT_INTERRUPTED
    except OSError as error:
        if error.errno in UNWRITABLE:
            return _give_up_output(error)
        if error.errno == errno.ENOENT and _is_nowhere():
            click.echo("error: The current folder does not exist any more. Change to another one.", err=True)
            return EXIT_FAILED
        return _unexpected(error, settings)
    except Exception as error:
        return _unexpected(error, settings)
    return code if isinstance(code, int) else EXIT_DONE


def _respelt(error: click.UsageError, arguments: Sequence[str] | None) -> click.UsageError:
    """The error; of an option that is another tool's, or has one dash as Terraform's have, with our spelling."""
    if not isinstance(error, click.NoSuchOption) or error.ctx is None:
        return error
    known = {name for parameter in error.ctx.command.params for name in parameter.opts}
    for word in sys.argv[1:] if arguments is None else arguments:
        given = word.partition("=")[0]
        name = given.lstrip("-")
        advice = OPTIONS_ELSEWHERE.get(name, "") or (f"Write `--{name}`." if f"--{name}" in known else "")
        needed = advice.partition("`")[2].partition("`")[0].split(" ")[0]
        is_ours = needed in known or not needed.startswith("--")
        if advice and is_ours and error.option_name in (given, given[:2]):
            return click.UsageError(f"No such option {given!r}. {advice}", error.ctx)
    return error


def _is_nowhere() -> bool:
    """Whether the folder that this process runs in was deleted."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib is dear
    except FileNotFoundError:
        return True
    return False


def _unexpected(error: Exception, settings: Settings) -> int:
    """Tell of a defect of ours in one line; with -v where it happened."""
    if settings.verbose:
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    words = " ".join(str(error).split())[:300]
    what = f"{type(error).__name__}: {words}" if words else type(error).__name__
    advice = "" if settings.verbose else "\n  Run it again with -v for the traceback, and report it."
    click.echo(f"error: whisperctl itself has failed: {what}{advice}", err=True)
    return EXIT_FAILED


def _give_up_output(error: OSError) -> int:
    """Say that the output is not complete, and let the rest of it go nowhere, lest the interpreter complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    # Whoever read our output may be gone (`whisperctl logs | head`): that is their choice.
    if not isinstance(error, BrokenPipeError):
        click.echo(f"error: The output cannot be written: {error.strerror}.", err=True)
    return EXIT_FAILED
