"""`watch`: plan again and again, and tell what is wrong once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from whisperctl.cli.inputs import followed_stacks, open_world
from whisperctl.cli.options import PARALLELISM, PATHS, Settings
from whisperctl.cli.parameters import HostPort
from whisperctl.cli.prompts import to_stderr
from whisperctl.errors import EXIT_DONE, Unreachable

if TYPE_CHECKING:
    from whisperctl.endpoint.webhook import Webhook
    from whisperctl.operate.watch.conditions import Notice
    from whisperctl.operate.watch.heal import Healing
    from whisperctl.operate.watch.metrics import Board


@click.command(short_help="Plan again and again; tell drift, failures and leaks once, and heal if asked.")
@PATHS
@click.option("--interval", type=click.FloatRange(min=1), default=60, show_default=True, metavar="SECONDS")
@click.option("--heal", "heals", is_flag=True, help="Put back what was changed by hand, where nothing is deleted.")
@click.option(
    "--metrics-port",
    type=HostPort(),
    metavar="[HOST:]N",
    help="Serve Prometheus metrics on this port; of 127.0.0.1 unless another address is named.",
)
@click.option(
    "--notify", metavar="URL", envvar="WHISPERCTL_NOTIFY", help="Post what is told to this webhook [WHISPERCTL_NOTIFY]."
)
@click.option(
    "--probe-every",
    type=click.FloatRange(min=0),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="Transcribe the recordings of rollout.smoke; 0 is never.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@PARALLELISM
@click.pass_obj
def watch(
    settings: Settings,
    paths: Sequence[str],
    interval: float,
    heals: bool,
    metrics_port: tuple[str, int] | None,
    notify: str | None,
    probe_every: float,
    form: str,
    parallelism: int,
) -> int:
    """Look at the stacks every minute; tell drift, failed starts, unhealthy endpoints and leaks, each once.

    PATH is a stack file or a directory [stack.yaml]; changed files are read again. Each thing is one line when it
    begins and one when it is over; `--format json` has one JSON object a line. `--heal` puts back what was last
    applied: it deletes and replaces nothing, and only tells where the file has moved on. SIGTERM ends it.
    """
    from whisperctl.cli.signals import ended_by_signals
    from whisperctl.endpoint.webhook import Webhook
    from whisperctl.operate.watch.metrics import Board
    from whisperctl.operate.watch.rounds import Rounds

    stacks = followed_stacks(paths, lambda stack: settings.project(stack.project))
    world = open_world(settings, stacks(), parallelism)
    board, webhook = Board(), Webhook(notify) if notify else None
    telling = _Telling(form, settings.use_color(), webhook, board)
    rounds = Rounds(
        stacks=stacks, world=world, clock=world.clock, interval=interval, probe_every=probe_every, heals=heals,
        tell=telling, board=board,
    )  # fmt: skip
    with ended_by_signals(world.clock), _served(board, metrics_port):
        to_stderr(f"Watching {', '.join(stack.name for stack in stacks())} every {interval:g} s.")
        rounds.run()
    return EXIT_DONE


@contextmanager
def _served(board: Board, where: tuple[str, int] | None) -> Iterator[None]:
    from whisperctl.operate.watch.metrics import serve

    if where is None:
        yield
        return
    close = serve(board, *where)
    to_stderr(f"Metrics: http://{where[0]}:{where[1]}/metrics")
    try:
        yield
    finally:
        close()


class _Telling:
    """Prints what is new, and posts it; what a webhook does not take is told on stderr and not posted again."""

    def __init__(self, form: str, color: bool, webhook: Webhook | None, board: Board) -> None:
        self.form, self.color, self.webhook, self.board = form, color, webhook, board

    def __call__(self, notices: Sequence[Notice], healings: Sequence[Healing]) -> None:
        import time

        from whisperctl.views.watch import watch_json_lines, watch_lines, watch_message

        now = time.time()
        lines = (
            watch_json_lines(notices, healings, now)
            if self.form == "json"
            else watch_lines(notices, healings, now, self.color)
        )
        for line in lines:
            click.echo(line)
        if self.webhook is None:
            return
        try:
            self.webhook.post(watch_message(notices, healings))
        except Unreachable as error:
            self.board.lost_notice()
            to_stderr(f"warning: {error}")
