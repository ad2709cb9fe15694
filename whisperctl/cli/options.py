"""The global options: where UbiOps is, which project, which token, and how to print.

The token comes from UBIOPS_API_TOKEN or a file, never from an argument: arguments show in process lists.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

import click

from whisperctl.errors import WhisperctlError

DEFAULT_HOST = "https://api.ubiops.com/v2"
WRITING = frozenset({"apply", "destroy", "scale", "pause", "resume", "restart", "rollback", "adopt"})
"""Commands that change a project: they refuse an environment variable that contradicts the stack file."""
LONGEST_TOKEN = 1 << 16
"""Bytes of a file that holds one."""


class Settings:
    """What the global options and the environment say; filled while click parses."""

    def __init__(self) -> None:
        self.host: str = os.environ.get("UBIOPS_API_HOST") or DEFAULT_HOST
        self.project_flag: str | None = None
        self.token_file: str | None = None
        self.color: str = "auto"
        self.timeout_flag: float | None = None
        self.insecure_http: bool = False
        self.verbose: int = 0

    @property
    def timeout(self) -> float:
        """Seconds for one whole call of the API, and for what is asked of an endpoint but transcriptions."""
        return 60.0 if self.timeout_flag is None else self.timeout_flag

    @property
    def transcription_timeout(self) -> float:
        """Seconds for one transcription, upload and answer included."""
        return 600.0 if self.timeout_flag is None else self.timeout_flag

    def api_host(self) -> str:
        """The address of UbiOps' API; the official client puts `https://` before whatever does not begin as it expects.

        Raises:
            click.UsageError: another scheme than http or https; the rest may hold a password and is not repeated.
        """
        scheme, separator, _rest = self.host.partition("://")
        if separator and scheme not in ("http", "https"):
            raise click.UsageError(
                f"The host begins with {scheme}://: write https:// (or http://), as in {DEFAULT_HOST}.\n"
                "  Check --host or UBIOPS_API_HOST."
            )
        from whisperctl.hosts import refuse_plain

        refuse_plain(self.host, allowed=self.insecure_http)
        return self.host

    def project(self, declared: str | None = None) -> str:
        """The project: the flag, else what the stack declares, else UBIOPS_PROJECT.

        Raises:
            WhisperctlError: none of the three names one, or two of them contradict each other.
        """
        variable = os.environ.get("UBIOPS_PROJECT")
        if declared:
            self._refuse_contradiction(declared, variable)
        chosen = self.project_flag or declared or variable
        if not chosen:
            raise WhisperctlError(
                "No project is named.\n  Set UBIOPS_PROJECT, pass --project, or write `project:` into the stack file."
            )
        return chosen

    def _refuse_contradiction(self, declared: str, variable: str | None) -> None:
        """The flag must name what the stack declares; the variable only where something is written."""
        context = click.get_current_context(silent=True)
        writes = context is not None and context.info_name in WRITING
        source, name = ("--project", self.project_flag) if self.project_flag else ("UBIOPS_PROJECT", variable)
        if name and name != declared and (writes or self.project_flag):
            raise WhisperctlError(
                f"{source} names the project {name!r}, and the stack file {declared!r}.\n"
                "  Nothing was done. Leave out the one that is wrong."
            )

    def token(self, project: str | None = None) -> str:
        """The API token without its `Token ` prefix; that of `project` where the environment has one for it.

        Raises:
            WhisperctlError: no token, an unreadable file, or something that cannot be a token.
        """
        from whisperctl.output import learn_token

        token = bare_token(self._token_text(project))
        learn_token(token)
        return token

    def require_tokens(self, projects: Iterable[str]) -> None:
        """Return if there is a token for each project.

        Raises:
            WhisperctlError: with all projects that have none.
        """
        if self.token_file is not None or os.environ.get("UBIOPS_API_TOKEN", "").strip():
            return
        variables = {name: token_variable(name) for name in projects}
        without = [name for name, variable in variables.items() if not os.environ.get(variable, "").strip()]
        if len(without) > 1 or (without and len(variables) > 1):
            named = ", ".join(f"{name} ({variables[name]})" for name in without)
            raise WhisperctlError(
                f"No UbiOps token for {named}.\n  Set the variables named, or UBIOPS_API_TOKEN for all projects."
            )

    def _token_text(self, project: str | None) -> str:
        if self.token_file is not None:
            from whisperctl.files import Unreadable, read_text  # costs --help a tenth of its time

            try:
                return read_text(self.token_file, LONGEST_TOKEN)
            except Unreadable as error:
                raise WhisperctlError(f"The token file {self.token_file} cannot be read: {error.reason}.") from None
        named = os.environ.get(token_variable(project), "") if project else ""
        text = named if named.strip() else os.environ.get("UBIOPS_API_TOKEN", "")
        if not text.strip():
            raise WhisperctlError(
                "No UbiOps token.\n  Set UBIOPS_API_TOKEN, or put the token into a file and pass --token-file FILE."
            )
        return text

    def use_color(self, stream: TextIO | None = None) -> bool:
        """Whether `stream` (stdout) gets colour: the flag, then NO_COLOR, then whether it is a terminal with any."""
        from whisperctl.output import DUMB

        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in DUMB:
            return False
        return (stream or sys.stdout).isatty()


def terminal_columns(stream: TextIO | None = None) -> int | None:
    """How wide the terminal is that `stream` (stdout) goes to; None where it goes elsewhere."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return None
    if (named := os.environ.get("COLUMNS", "")).isdecimal() and int(named):
        return int(named)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def token_variable(project: str) -> str:
    """The environment variable that holds the token of one project: `UBIOPS_API_TOKEN_SPEECH_PROD`."""
    return "UBIOPS_API_TOKEN_" + "".join(c if c.isalnum() and c.isascii() else "_" for c in project.upper())


def bare_token(text: str) -> str:
    """The token in `text`, without a `Token ` or `Bearer ` prefix.

    Raises:
        WhisperctlError: the rest is empty or has spaces or control characters; the text itself is not repeated.
    """
    words = text.split()
    if words[:1] and words[0].lower() in ("token", "bearer"):
        words = words[1:]
    if len(words) != 1 or not words[0].isprintable() or not words[0].isascii():
        raise WhisperctlError(
            "The UbiOps token is malformed: it must be one word, with or without `Token ` before it.\n"
            "  Copy it again from the console (API tokens of a service user)."
        )
    return words[0]


def _store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    settings = ctx.ensure_object(Settings)
    if value is None or param.name is None or (param.name in ("verbose", "insecure_http") and not value):
        return
    if param.name == "insecure_http":
        os.environ["WHISPERCTL_INSECURE_HTTP"] = "1"  # for endpoints, too
    setattr(settings, {"project": "project_flag", "timeout": "timeout_flag"}.get(param.name, param.name), value)
    if param.name == "color":  # else click takes colours out of whatever does not go to a terminal
        ctx.color = {"always": True, "never": False}.get(value)


def global_options(hidden: bool = False) -> list[click.Parameter]:
    """The global options as click parameters; `hidden` for the copies that every command accepts as well."""

    def option(*names: str, **more: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_store, hidden=hidden, default=None, **more)

    return [
        option("--host", metavar="URL", help=f"UbiOps API host [UBIOPS_API_HOST; default {DEFAULT_HOST}]."),
        option("--project", metavar="NAME", help="UbiOps project [UBIOPS_PROJECT]."),
        option("--token-file", metavar="FILE", help="File that holds the API token, instead of UBIOPS_API_TOKEN."),
        option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            help="Colour [auto; NO_COLOR and TERM=dumb are honoured].",
        ),
        option("--insecure-http", is_flag=True, help="Allow plain http to others [WHISPERCTL_INSECURE_HTTP=1]."),
        option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="Seconds for one whole call, answer included [60; 600 for a transcription].",
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_store,
            hidden=hidden,
            help="Say more on stderr; -vv names every request.",
        ),
    ]


DEFAULT_PATH = "stack.yaml"


ALLOW_DELETE = click.option(
    "--allow-delete",
    is_flag=True,
    help="Take over a stack that was applied from another file, and delete what is not in this one.",
)
ONLY = click.option(
    "--only", multiple=True, metavar="GLOB", help="Only addresses that match, and what those need and is not there yet."
)
EXCLUDE = click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out addresses that match.")
PARALLELISM = click.option(
    "--parallelism", type=click.IntRange(1, 64), default=10, show_default=True, help="Requests in flight at a time."
)


PLAN_FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True
)


PATHS = click.argument("paths", nargs=-1, metavar="[PATH]...")


PATH = click.argument("path", default=DEFAULT_PATH, metavar="[PATH]")


INSTANCES = click.IntRange(min=0)
