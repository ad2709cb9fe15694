"""The rules without HTTP, processes or real time: a store, a manual clock, and what moves when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ubiops_emulator import seed
from ubiops_emulator.api import lifecycle
from ubiops_emulator.api.call import SYSTEM, Call, Upload, User
from ubiops_emulator.api.lifecycle import Effect, Pace
from ubiops_emulator.api.rules import deployments, environments, revisions, versions
from ubiops_emulator.clock import ManualClock
from ubiops_emulator.store import Doc, Duplicate, FolderInUse, Store

PLAIN = {"input_type": "plain", "output_type": "plain"}


class World:
    """A store and a clock, and the two things that happen: calls, and time passing."""

    def __init__(self, folder: Path, *, processes: bool = False, speed: float = 1.0) -> None:
        self.store = Store(folder)
        self.clock = ManualClock()
        self.pace = Pace(speed=speed, processes=processes)
        self.user = User(id="u", email="u@example.org")
        self.busy: set[str] = set()
        self.served: dict[str, float] = {}
        seed.seed(self.store, self.clock.now(), "token")

    def call(
        self, rule: Any, path: dict[str, str], body: Any = None, upload: Upload | None = None, **query: str
    ) -> Any:
        full = {"project_name": "demo"} | path
        call = Call(
            store=self.store,
            user=self.user,
            now=self.clock.now(),
            path=full,
            query=query,
            body=body,
            upload=upload,
            free_port=lambda: 1,
        )
        return rule(call)

    def pass_time(self, seconds: float) -> list[Effect]:
        """Go to every moment at which something is due, up to this time."""
        end, effects = self.clock.now() + seconds, []
        while (due := self.store.next_due()) is not None and due <= end:
            self.clock.advance(max(0.0, due - self.clock.now()))
            effects += lifecycle.advance(self.store, self.clock.now(), self.pace, self.served)
        self.clock.advance(end - self.clock.now())
        return effects

    def scale(self, waiting: int = 0) -> list[Effect]:
        return lifecycle.scale(self.store, self.version.id, waiting, self.busy, self.clock.now())

    @property
    def version(self) -> Doc:
        return self.store.every("version")[0]

    def statuses(self) -> list[str]:
        return [doc.body["status"] for doc in self.store.every("instance")]

    def deploy(self, **fields: Any) -> None:
        self.call(deployments.create, {}, {"name": "d"} | PLAIN)
        self.call(versions.create, {"deployment_name": "d"}, {"version": "v1"} | fields)

    def build(self) -> str:
        ident = str(self.call(revisions.upload, {"deployment_name": "d", "version": "v1"})["revision"])
        self.pass_time(6)
        lifecycle.built(self.store, "revision", ident, "", {}, self.clock.now())
        self.pass_time(60)
        return ident


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


def tag_status(world: World) -> str:
    return str(world.call(environments.tag_get, {"environment_name": "e", "tag_name": "t"})["status"])


def queue_tag(world: World, folder: Path) -> str:
    world.call(environments.create, {}, {"name": "e"})
    tag = world.call(environments.tag_create, {"environment_name": "e"}, {"name": "t"})
    upload = Upload(sha256="0", path=folder / "0", filename="e.zip", size=1)
    base = {"base_environment_name": "ubiops-ubuntu24-04-python3-12", "base_environment_tag": "v5.25.0"}
    world.call(environments.tag_build, {"environment_name": "e", "tag_name": "t"}, None, upload, **base)
    return str(tag["id"])


def test_a_tag_takes_some_twelve_minutes(world: World, tmp_path: Path) -> None:
    ident = queue_tag(world, tmp_path)
    assert tag_status(world) == "queued"
    assert world.pass_time(21) == [Effect("build_tag", ident)]
    assert tag_status(world) == "building"
    lifecycle.built(world.store, "tag", ident, "", {"size": 7}, world.clock.now())
    world.pass_time(690)
    assert tag_status(world) == "building"
    world.pass_time(20)
    assert tag_status(world) == "available"


def test_a_slow_build_ends_when_it_ends(world: World, tmp_path: Path) -> None:
    ident = queue_tag(world, tmp_path)
    world.pass_time(10_000)
    assert tag_status(world) == "building"
    lifecycle.built(world.store, "tag", ident, "it broke", {}, world.clock.now())
    world.pass_time(1)
    assert tag_status(world) == "failed"
    shown = world.call(environments.tag_get, {"environment_name": "e", "tag_name": "t"})
    assert shown["error_message"] == "it broke"


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 62), (10.0, 6.2), (1000.0, 0.07)])
def test_speed_divides_every_stay(tmp_path: Path, speed: float, seconds: float) -> None:
    world = World(tmp_path, speed=speed)
    world.deploy()
    ident = world.call(revisions.upload, {"deployment_name": "d", "version": "v1"})["revision"]
    world.pass_time(seconds / 2)
    lifecycle.built(world.store, "revision", ident, "", {}, world.clock.now())
    assert world.version.body["active_revision"] is None
    world.pass_time(seconds / 2)
    assert world.version.body["active_revision"] == ident
    world.store.close()


def test_a_revision_waits_for_its_tag(world: World, tmp_path: Path) -> None:
    tag = queue_tag(world, tmp_path)
    world.deploy(environment_name="e", environment_tag="t")
    ident = world.call(revisions.upload, {"deployment_name": "d", "version": "v1"})["revision"]
    assert Effect("build_revision", ident) not in world.pass_time(600)
    lifecycle.built(world.store, "tag", tag, "", {}, world.clock.now())
    assert Effect("build_revision", ident) in world.pass_time(200)


def test_instances_go_through_their_states(world: World) -> None:
    world.deploy(minimum_instances=1)
    assert world.scale() == []
    assert world.statuses() == []
    world.build()
    world.scale()
    assert world.statuses() == ["pending"]
    world.pass_time(21)
    assert world.statuses() == ["initialising"]
    instance = world.store.every("instance")[0]
    assert instance.body["instance_type"]["name"] == "16384mb"
    world.pass_time(11)
    assert world.statuses() == ["running"]
    assert lifecycle.stop(world.store, world.store.every("instance")[0], world.clock.now()) == [
        Effect("stop", instance.id)
    ]
    world.pass_time(6)
    assert world.statuses() == []
    assert world.store.children("instance_event", instance.id) == []


def test_work_wakes_up_to_the_maximum_and_idleness_ends_it(world: World) -> None:
    world.deploy(maximum_instances=2, maximum_idle_time=100)
    world.build()
    world.scale(waiting=5)
    assert world.statuses() == ["pending", "pending"]
    world.pass_time(31)
    world.scale()
    world.pass_time(90)
    assert world.statuses() == ["running", "running"]
    first = world.store.every("instance")[0]
    world.served[first.id] = world.clock.now()
    world.pass_time(20)
    assert world.statuses() == ["running"]
    world.pass_time(100)
    assert world.statuses() == []


def test_the_minimum_stays_when_idle(world: World) -> None:
    world.deploy(minimum_instances=1, maximum_idle_time=10)
    world.build()
    world.scale()
    world.pass_time(31)
    world.scale()
    world.pass_time(10_000)
    assert world.statuses() == ["running"]


def test_a_busy_old_instance_is_replaced_later(world: World) -> None:
    world.deploy(minimum_instances=1)
    world.build()
    world.scale()
    world.pass_time(31)
    old = world.store.every("instance")[0]
    world.busy.add(old.id)
    world.build()
    world.scale()
    world.pass_time(31)
    world.scale()
    assert world.statuses() == ["running", "running"]
    world.busy.clear()
    world.scale()
    assert [doc.body["status"] for doc in world.store.every("instance")] == ["stopping", "running"]


def test_a_failed_revision_leaves_the_active_one(world: World) -> None:
    world.deploy()
    first = world.build()
    second = world.call(revisions.upload, {"deployment_name": "d", "version": "v1"})["revision"]
    world.pass_time(6)
    lifecycle.built(world.store, "revision", second, "no", {}, world.clock.now())
    world.pass_time(60)
    body = world.version.body
    assert (body["active_revision"], body["latest_revision"]) == (first, second)


def test_a_store_is_used_by_one_only(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(FolderInUse):
        Store(tmp_path)
    store.close()
    Store(tmp_path).close()


def test_a_transaction_is_all_or_nothing(world: World) -> None:
    world.store.add("environment", SYSTEM, "taken", {})
    with pytest.raises(Duplicate):
        _add_both(world.store)
    assert world.store.find("environment", SYSTEM, "half") is None


def _add_both(store: Store) -> None:
    with store.transaction():
        store.add("environment", SYSTEM, "half", {})
        store.add("environment", SYSTEM, "taken", {})
