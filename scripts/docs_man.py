"""The man page, from the same click commands as `--help`. `docs_generate.py` writes it to man/whisperctl.1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import click

from whisperctl import __version__
from whisperctl.cli.main import COMMANDS, whisperctl

EXITS = (
    ("0", "Done, or nothing to do."),
    ("1", "Failed."),
    ("2", "Changes are pending: with --detailed-exitcode or drift only."),
    ("64", "Wrong usage."),
    ("130", "Interrupted."),
)
VARIABLES = (
    ("UBIOPS_API_TOKEN", "API token, with or without `Token ` before it."),
    ("UBIOPS_API_TOKEN_PROJECT", "API token of one project, named in upper case with underscores."),
    ("UBIOPS_PROJECT", "Project, where neither --project nor the stack file names one."),
    ("UBIOPS_API_HOST", "Address of the API."),
    ("WHISPERCTL_INSECURE_HTTP", "1 allows plain http to other machines."),
    ("NO_COLOR", "Not empty: no colour."),
)
SYNOPSIS = ".B whisperctl\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]..."


def text() -> str:
    """The page in the language of man(7)."""
    context = click.Context(whisperctl, info_name="whisperctl")
    title = f'.TH WHISPERCTL 1 "" "whisperctl {__version__}" "User Commands"'
    parts = [
        title,
        ".SH NAME",
        "whisperctl \\- infrastructure as code for speech recognition",
        ".SH SYNOPSIS",
        SYNOPSIS,
    ]
    parts += [".SH DESCRIPTION", *paragraphs(whisperctl.help or "")]
    parts += [".SH OPTIONS", *options(whisperctl, context), ".SH COMMANDS"]
    for name in COMMANDS:
        command = whisperctl.get_command(context, name)
        assert command is not None
        parts += section(command, click.Context(command, parent=context, info_name=name))
    parts += [".SH EXIT STATUS", *listed(EXITS), ".SH ENVIRONMENT", *listed(VARIABLES)]
    parts += [".SH FILES", ".TP", ".I stack.yaml", "The stack file, where no PATH is given."]
    parts += [".SH SEE ALSO", "https://whisperctl.github.io/whisperctl/"]
    return "\n".join(parts) + "\n"


def section(command: click.Command, context: click.Context) -> Iterator[str]:
    """One command: its usage, what it does, its options."""
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS {escaped(context.info_name or '')} {escaped(usage)}"
    yield from paragraphs(command.help or "")
    yield from options(command, context)


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """The options that `--help` shows."""
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    yield from listed(record for record in records if record is not None)


def listed(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Words, each with what it means."""
    for name, meaning in entries:
        if meaning:
            yield from (".TP", f".B {escaped(name)}", escaped(meaning))


def paragraphs(help_text: str) -> Iterator[str]:
    """What a command says of itself."""
    for paragraph in re.split(r"\n\s*\n", help_text.replace("\b", "").strip()):
        yield from (".PP", escaped(" ".join(paragraph.split())))


def escaped(words: str) -> str:
    """Text that man(7) shows as it is."""
    plain = words.replace("\\", "\\e").replace("-", "\\-")
    plain = re.sub(r"[^\x00-\x7f]", lambda match: f"\\[u{ord(match[0]):04X}]", plain)
    return "\\&" + plain if plain[:1] in (".", "'") else plain
