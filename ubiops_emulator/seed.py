"""What a fresh project holds: base environments, instance types and groups, roles, and one user."""

from __future__ import annotations

from typing import Any

from ubiops_emulator.api.call import SYSTEM
from ubiops_emulator.api.rules import access, projects
from ubiops_emulator.api.rules.environments import new_tag
from ubiops_emulator.clock import stamp
from ubiops_emulator.store import Store

PROJECT = "demo"
ADMIN = "admin@emulator.local"
BASES = ("ubiops-ubuntu24-04-python3-12", "ubiops-ubuntu24-04-python3-13")
BASE_TAGS = ("v1", "v5.24.0", "v5.25.0")
# name, display name, vCPU, memory (MiB), storage (MB), GPUs, credits an hour, whether the project has a group of it
TYPES: list[tuple[str, str, float, int, int, int, float, bool]] = [
    ("512mb", "512 MB + 0.125 vCPU", 0.125, 512, 1024, 0, 0.5, False),
    ("2048mb", "2048 MB + 0.5 vCPU", 0.5, 2048, 4096, 0, 2.0, False),
    ("4096mb", "4096 MB + 1 vCPU", 1, 4096, 8192, 0, 4.0, False),
    ("16384mb", "16384 MB + 4 vCPU", 4, 16384, 32768, 0, 16.0, True),
    ("12288mb-t4", "12288 MB + NVIDIA Tesla T4", 4, 12288, 51200, 1, 30.0, True),
    ("16384mb-l4", "16384 MB + 4 vCPU + NVIDIA Ada Lovelace L4", 4, 16384, 51200, 1, 45.0, True),
    ("32768mb-a10", "32768 MB + 8 vCPU + NVIDIA A10", 8, 32768, 102400, 1, 60.0, True),
    ("86016mb-a100", "86016 MB + 12 vCPU + NVIDIA A100", 12, 86016, 204800, 1, 180.0, True),
    ("131072mb-h100", "131072 MB + 16 vCPU + NVIDIA H100", 16, 131072, 409600, 1, 320.0, True),
    ("196608mb-h200", "196608 MB + 16 vCPU + NVIDIA H200", 16, 196608, 409600, 1, 400.0, True),
]

TYPE_NAMES = tuple(row[0] for row in TYPES)


def seed(store: Store, now: float, token: str) -> None:
    """Fill an empty store; the token is the first user's."""
    user = store.add("user", SYSTEM, ADMIN, _user(now))
    access.set_token(store, user, token)
    store.set("token", token)
    for name in BASES:
        _environment(store, name, now)
    for name, display, cpu, memory, storage, gpus, credits_, grouped in TYPES:
        store.add("instance_type", SYSTEM, name, {
            "time_created": stamp(now),
            "name": name,
            "display_name": display,
            "cpu": cpu,
            "memory": memory,
            "storage": storage,
            "accelerator": gpus,
            "credit_rate": credits_,
            "dedicated_node": False,
            "node_pool": {"cluster": {"type": "local"}},
            "_grouped": grouped,
        })  # fmt: skip
    projects.add(store, {"name": PROJECT, "organization_name": "emulator"}, user.id, now)


def keep_token(store: Store, token: str) -> None:
    """After another state was put in place: the first user's token is this one."""
    user = store.find("user", SYSTEM, ADMIN)
    if user is not None:
        access.set_token(store, user, token)
        store.set("token", token)


def _user(now: float) -> dict[str, Any]:
    return {
        "email": ADMIN,
        "name": "Emulator",
        "surname": "Admin",
        "registration_date": stamp(now),
        "authentication": "password",
    }


def _environment(store: Store, name: str, now: float) -> None:
    parent = store.add("environment", SYSTEM, name, {
        "name": name,
        "project": None,
        "creation_date": stamp(now),
        "last_updated": stamp(now),
        "description": "Base environment",
        "labels": {},
        "system": True,
    })  # fmt: skip
    for tag in BASE_TAGS:
        body = new_tag(now) | {"name": tag, "supports_request_format": True, "status": "available"}
        store.add("tag", parent.id, tag, body | {"size": 1_073_741_824})
