"""usage: whose days, whose credits, and when hours of audio are honestly unknown."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from jsonschema.validators import Draft202012Validator

from tests.harness.operator import Operator
from tests.operate.test_status import up
from whisperctl.assets import shipped
from whisperctl.control.api import Api
from whisperctl.operate.usage import Figures, Usage, days_since, seconds_of
from whisperctl.views.usage import usage_csv, usage_text

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()
HOUR, DAY = 3600.0, 86400.0


@pytest.mark.parametrize(
    ("since", "first", "count"),
    [
        (NOON - 7 * DAY, date(2026, 3, 4), 7),
        (NOON - HOUR, date(2026, 3, 10), 1),  # today, although it began before
        (datetime(2026, 3, 9, tzinfo=UTC).timestamp(), date(2026, 3, 9), 2),
        (datetime(2026, 3, 10, tzinfo=UTC).timestamp(), date(2026, 3, 10), 1),
        (datetime(2026, 2, 28, 23, 59, tzinfo=UTC).timestamp(), date(2026, 3, 1), 10),
    ],
)
def test_days(since: float, first: date, count: int) -> None:
    days = days_since(since, NOON)
    assert (days[0], days[-1], len(days)) == (first, date(2026, 3, 10), count)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ('{"text": "hi", "usage": {"type": "duration", "seconds": 12}}', 12.0),
        ('{"text": "hi", "duration": "7.25", "segments": []}', 7.25),
        ({"duration": 3}, 3.0),
        ('{"text": "hi"}', None),
        ('{"duration": "NaN", "usage": {"seconds": 4}}', 4.0),
        ('{"duration": -1}', None),
        ("1\n00:00:00,000 --> 00:00:01,000\nhi", None),
        ("[1, 2]", None),
        ('{"usage": "much"}', None),
        ("[" * 100_000, None),
        ({"duration": 10**400}, None),
        (None, None),
    ],
)
def test_how_long_the_audio_of_an_answer_was(answer: Any, seconds: float | None) -> None:
    assert seconds_of(answer) == seconds


def test_an_hour_of_audio_has_a_price_only_where_it_is_known() -> None:
    days = {date(2026, 3, 9) + timedelta(days=n): Figures(credits=15.0, audio_hours=n * 2.0) for n in range(2)}
    usage = Usage(stack="speech", project="demo", days=days)
    assert usage.total.credits_per_audio_hour == 15.0
    assert "An hour of audio cost 15.00 credits." in usage_text([usage], color=False)
    dark = Usage(stack="speech", project="demo", days={date(2026, 3, 9): Figures(credits=1.0, audio_hours=None)},
                 audio_unknown="v1 does not keep answers")  # fmt: skip
    assert dark.total.audio_hours is None
    assert "Audio hours are unknown: v1 does not keep answers." in usage_text([dark], color=False)
    [row] = csv.DictReader(io.StringIO(usage_csv([dark])))
    assert (row["credits"], row["audio_hours"]) == ("1.0", "")


def test_credits_follow_the_hours_that_instances_ran(operator: Operator, api: Api) -> None:
    up(api)
    api.create_request("speech", "v1", "hello", 20)
    document = json.loads(operator.good("usage", "--format", "json").out)
    schema = json.loads((shipped("schemas") / "usage.schema.json").read_text())
    assert [error.message for error in Draft202012Validator(schema).iter_errors(document)] == []
    [entry] = document["stacks"]
    total = entry["total"]
    assert len(entry["days"]) == 7
    assert total["requests"] >= 1
    assert total["instance_hours"] > 0
    # A T4 costs 30 an hour; the two series are read one after the other while the instance runs on.
    assert total["credits"] == pytest.approx(30 * total["instance_hours"], abs=30 * 10 / 3600)
    assert total["audio_hours"] == 0.0
    rows = list(csv.DictReader(io.StringIO(operator.good("usage", "--since", "1h", "--format", "csv").out)))
    assert [(row["stack"], row["project"]) for row in rows] == [("speech", "demo")]
    assert operator.run("usage", "--since", "soon").code == 64


def test_without_kept_answers_audio_is_unknown(operator: Operator, api: Api, control: httpx.Client) -> None:
    api.update_version("speech", "v1", {"request_retention_mode": "metadata"})
    ran = operator.good("usage")
    assert "Audio hours are unknown: v1 does not keep answers (request_retention_mode: metadata)." in ran.out
    api.update_version("speech", "v1", {"request_retention_mode": "full", "request_retention_time": 3600})
    assert "keeps requests for 0.0416667 days only" in operator.good("usage").out
