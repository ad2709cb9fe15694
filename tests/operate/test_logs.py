"""logs: every line once and in order, whatever the pages, the lateness, and the reader at the other end."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.harness.operator import Operator
from tests.operate.conftest import SECOND
from tests.operate.log_host import LogHost, log_host
from whisperctl.control.api import Api, Json
from whisperctl.loading import load_stacks
from whisperctl.operate.logs import LATE, Line, Reader, belongs_to, created, follow
from whisperctl.operate.logs import SECOND as NANOSECONDS

NOW = 1_800_000_000


class HandClock:
    """Time that a test moves; a sleep only notes how long."""

    def __init__(self) -> None:
        self.now = float(NOW)
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def host() -> Iterator[LogHost]:
    with log_host() as server:
        yield server


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def reader(host: LogHost, clock: HandClock, *queries: str, page: int = 5000) -> Reader:
    api = Api(host.address, "demo", "token", clock=clock)
    return Reader(api=api, queries=queries or ("anything",), since=0, clock=clock, page=page)


def texts(lines: Iterable[Line]) -> list[str]:
    return [line.text for line in lines]


@pytest.mark.parametrize("page", [2, 3, 7, 50, 5000])
def test_every_line_comes_once_whatever_the_page(host: LogHost, clock: HandClock, page: int) -> None:
    draw = random.Random(page)
    moment = (NOW - 1000) * NANOSECONDS
    expected = []
    for number in range(100):
        # Several lines of one moment, some of them equal; never more of one moment than a page holds.
        moment += 0 if number % page and draw.random() < 0.5 else 1
        text = draw.choice(["the same", f"line {number}"])
        host.add(moment, text)
        expected.append((moment, text))
    lines = [(line.moment, line.text) for line in reader(host, clock, page=page).more()]
    assert sorted(lines) == sorted(expected)
    assert [moment for moment, _ in lines] == [moment for moment, _ in expected]


def test_polls_neither_repeat_nor_lose(host: LogHost, clock: HandClock) -> None:
    source = reader(host, clock, page=10)
    given: list[str] = []
    expected: list[str] = []
    draw = random.Random(1)
    for number in range(60):
        clock.now += 1
        # A line turns up as much as 25 seconds after its moment.
        moment = int((clock.now - draw.uniform(0, 25)) * NANOSECONDS)
        host.add(moment, f"line {number}")
        expected.append(f"line {number}")
        given += texts(source.more())
    assert sorted(given) == sorted(expected)


def test_equal_lines_of_one_moment_stay_two(host: LogHost, clock: HandClock) -> None:
    source = reader(host, clock)
    host.add(NOW * NANOSECONDS, "again", instance_id="a")
    assert len(source.more()) == 1
    host.add(NOW * NANOSECONDS, "again", instance_id="a")
    assert len(source.more()) == 1
    assert source.more() == []


def test_a_line_that_two_questions_find_is_one(host: LogHost, clock: HandClock) -> None:
    host.add(NOW * NANOSECONDS, "hello")
    assert texts(reader(host, clock, "one", "two").more()) == ["hello"]


def test_an_instance_whose_clock_runs_ahead_hides_nobody(host: LogHost, clock: HandClock) -> None:
    source = reader(host, clock)
    host.add((NOW + 600) * NANOSECONDS, "from the future")
    assert len(source.more()) == 1
    clock.now += 5
    host.add((NOW + 5) * NANOSECONDS, "from now")
    assert texts(source.more()) == ["from now"]
    assert source.since <= int(clock.now * NANOSECONDS) - LATE


def test_following_goes_on_after_a_host_that_failed(host: LogHost, clock: HandClock) -> None:
    said: list[str] = []
    host.add(NOW * NANOSECONDS, "one")
    lines = follow(reader(host, clock), said.append)
    assert next(lines).text == "one"
    host.failing = 6  # all tries of one call
    host.add(NOW * NANOSECONDS, "two")
    assert next(lines).text == "two"
    assert len(said) == 1
    assert "Going on." in said[0]


def test_a_deployment_that_is_made_meanwhile_is_followed_from_its_own_first_line(
    host: LogHost, clock: HandClock, operator: Operator
) -> None:
    """The clock here is a minute ahead of UbiOps'."""
    [stack] = load_stacks([operator.write(SECOND)], {}).stacks
    ours = {"deployment_name": "speech", "deployment_version": "v1"}
    host.add((NOW - 70) * NANOSECONDS, "of an earlier one", **ours)
    host.add((NOW - 50) * NANOSECONDS, "Build started", **ours)
    looks = iter([None, {"creation_date": "2027-01-15T07:59:00+00:00"}])
    source = reader(host, clock)
    source.keep = belongs_to(stack, created(None))

    def appeared() -> Callable[[Json], bool] | None:
        deployment = next(looks)
        return belongs_to(stack, created(deployment)) if deployment else None

    assert next(follow(source, print, appeared)).text == "Build started"


def test_builds_of_environment_and_package_oldest_first(operator: Operator) -> None:
    ran = operator.good("logs", "--since", "1h")
    assert ran.err == ""
    lines = ran.out.splitlines()
    assert lines == sorted(lines, key=lambda line: line[:27])
    assert any(" environment vllm-0.32.0-" in line and line.endswith("| Build finished") for line in lines)
    assert any(" build " in line and line.endswith("| Package structure is valid") for line in lines)
    assert operator.good("logs", "--build", "--since", "1h").out == ran.out
    nothing = operator.good("logs", "--instance", "--since", "1h")
    assert (nothing.out, nothing.err) == ("", "No log lines in that time. `--since 7d` looks further back.\n")
    nothing = operator.good("logs", "--instance", "--since", "8d")
    assert (nothing.out, nothing.err) == ("", "No log lines in that time.\n")


def test_nothing_of_another_stack_that_shares_the_environment(operator: Operator, api: Api) -> None:
    other = SECOND.replace("stack: speech", "stack: other").replace("name: speech", "name: other")
    operator.write(other, "other.yaml")
    operator.good("apply", "--yes", "other.yaml")
    [tag] = {(api.version(name, "v1") or {})["environment_tag"] for name in ("speech", "other")}
    revisions = {name: {item["id"][:8] for item in api.revisions(name, "v1")} for name in ("speech", "other")}
    for file, own in (("stack.yaml", "speech"), ("other.yaml", "other")):
        for only in ((), ("--build",)):
            lines = operator.good("logs", *only, file).out.splitlines()
            shown = {line.split()[2] for line in lines}
            assert {tag, *revisions[own]} <= shown
            assert all(line.split()[2] in revisions[own] for line in lines if line.split()[1] == "build")
        process = operator.start("logs", "-f", file)
        assert process.stdout is not None
        followed = [process.stdout.readline() for _ in lines]
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        followed += process.communicate(timeout=20)[0].splitlines(keepends=True)
        assert [line.rstrip("\n") for line in followed] == lines


def test_instance_lines_of_another_version_are_not_ours(host: LogHost, clock: HandClock, operator: Operator) -> None:
    from whisperctl.loading import load_stacks
    from whisperctl.operate.logs import belongs_to

    [stack] = load_stacks([operator.folder / "stack.yaml"], {}).stacks
    shared = {"environment_name": "whisperctl", "environment_tag": "t"}
    host.add(NOW * NANOSECONDS, "built", **shared)
    host.add(NOW * NANOSECONDS + 1, "ours", **shared, deployment_name="speech", deployment_version="v1")
    host.add(NOW * NANOSECONDS + 2, "another's", **shared, deployment_name="other", deployment_version="v1")
    host.add(NOW * NANOSECONDS + 3, "another's", **shared, deployment_name="speech", deployment_version="v2")
    source = reader(host, clock)
    source.keep = belongs_to(stack)
    assert texts(source.more()) == ["built", "ours"]


def test_since_takes_ages_and_dates(operator: Operator) -> None:
    everything = operator.good("logs").out
    assert operator.good("logs", "--since", "2020-01-01T00:00").out == everything
    assert operator.good("logs", "--since", "2020-01-01T00:00:00+02:00").out == everything
    assert operator.good("logs", "--since", "0001-01-01").out == everything
    assert "lies in the future" in operator.run("logs", "--since", "2999-01-01").err
    ran = operator.run("logs", "--since", "yesterday")
    assert ran.code == 64
    assert "'yesterday' is neither an age such as 30s, 10m, 2h, 3d nor a date" in ran.err


def test_a_reader_that_leaves_is_no_trouble(operator: Operator) -> None:
    process = operator.start("logs")
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(20)


def test_following_shows_the_newest_line_and_a_whole_new_build_once_and_ends_with_ctrl_c(
    operator: Operator, api: Api
) -> None:
    newest = operator.good("logs", "--build", "--since", "1h").out.splitlines(keepends=True)[-1]
    process = operator.start("logs", "-f", "--build", "--since", "1h", "--tail", "1")
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first == newest
    operator.write(SECOND.replace("448", "320"))
    operator.good("apply", "--yes")
    revision = (api.version("speech", "v1") or {})["active_revision"]
    seen = [first]
    while not (revision[:8] in seen[-1] and "Build finished" in seen[-1]):
        seen.append(process.stdout.readline())
        assert seen[-1], "it ended"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.strip() == "interrupted"
    lines = [*seen, *out.splitlines(keepends=True)]
    assert len(lines) == len(set(lines))
    assert sum(revision[:8] in line for line in lines) == 3


def test_secrets_that_a_program_printed_are_blanked() -> None:
    from whisperctl.views.logs import line_text

    line = Line(
        moment=NOW * NANOSECONDS + 5000, source="instance", id="0d3c9f1a-77", text="HF_TOKEN=abc123", error=False
    )
    assert line_text(line, False, ["abc123"]) == "2027-01-15T08:00:00.000005Z instance 0d3c9f1a | HF_TOKEN=(secret)"


def test_logs_before_the_first_apply_say_that_there_is_none(newcomer: Operator) -> None:
    newcomer.write(SECOND)
    ran = newcomer.good("logs")
    assert ran.out == ""
    assert ran.err.startswith("No log lines: deployment/")
    assert ran.err.endswith(" does not exist in project demo.\n")
    ran = newcomer.run("--project", "dmeo", "logs")
    assert (ran.code, ran.out) == (1, "")
    assert "There is no project 'dmeo' that this token can see." in ran.err


@pytest.mark.parametrize(
    ("labels", "ours"),
    [
        ({}, True),
        ({"environment_name": "whisperctl"}, True),
        ({"deployment_name": "speech", "deployment_version": "v1"}, True),
        ({"deployment_name": "speech", "deployment_version": "v2"}, False),
        ({"deployment_name": "speech"}, False),
    ],
)
def test_an_entry_belongs_to_its_version_or_to_no_deployment(
    operator: Operator, labels: dict[str, str], ours: bool
) -> None:
    [stack] = load_stacks([operator.write(SECOND)], {}).stacks
    assert belongs_to(stack)({"metadata": labels, "timestamp": 7}) is ours
    assert not belongs_to(stack, created=8)({"metadata": labels, "timestamp": 7}) or "deployment_name" not in labels
