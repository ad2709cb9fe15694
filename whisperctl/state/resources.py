"""What a plan talks about: kinds, addresses, resources, and the state that both sides are turned into.

Desired and live are the same type, so that a diff compares like with like: `desired_state` fills a State from a Stack,
`live` fills one from UbiOps. Types and tables only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, Final


class Masked(Enum):
    """What stands in a field for a value that is never shown: a type, so that no user's text can equal it.

    `str()` of it is what outputs and digests say.
    """

    SECRET = "(secret)"  # noqa: S105 - what is shown instead of one
    SECRET_CHANGED = "(secret, changed)"  # noqa: S105 - what is shown instead of one
    UNMARKED = "(not shown: its name looks like a secret's)"
    FROM_VARIABLE = "(not shown: from an environment variable)"
    MAYBE_FROM_VARIABLE = "(not shown: it may be from an environment variable)"

    def __str__(self) -> str:
        return self.value


FieldPath = tuple[str, ...]
"""Where a value stands within an object's fields: `("health_check", "interval")`."""


class Kind(IntEnum):
    """The kinds of object, in the order in which a plan lists them."""

    INSTANCE_TYPE_GROUP = 1
    ENVIRONMENT = 2
    ENVIRONMENT_TAG = 3
    DEPLOYMENT = 4
    VERSION = 5
    ENV_VAR = 6
    PACKAGE = 7
    SERVICE = 8


@dataclass(frozen=True, order=True, slots=True)
class Address:
    """A resource's name in every output: `version/whisper-vllm/v1`."""

    kind: Kind
    names: tuple[str, ...]

    def __str__(self) -> str:
        return "/".join((self.kind.name.lower(), *self.names))


SHARED_KINDS: Final = (Kind.ENVIRONMENT_TAG, Kind.ENVIRONMENT)
"""What the stacks of a project share, in the order in which it is deleted."""
BELOW: Final[Mapping[Kind, tuple[Kind, ...]]] = {
    Kind.DEPLOYMENT: (Kind.VERSION, Kind.ENV_VAR, Kind.PACKAGE),
    Kind.VERSION: (Kind.ENV_VAR, Kind.PACKAGE),
}
"""What hangs on an object of a kind: it is renamed and deleted with it."""


def hangs_on(address: Address, parent: Address) -> bool:
    """Whether an object is renamed and deleted with `parent`, as a version is with its deployment."""
    return address.kind in BELOW.get(parent.kind, ()) and address.names[: len(parent.names)] == parent.names


def field_name(address: Address, field: str) -> str:
    """A field of every object of that kind: `env_var.value`."""
    return f"{address.kind.name.lower()}.{field}"


def group_address(name: str) -> Address:
    """`instance_type_group/NAME`."""
    return Address(Kind.INSTANCE_TYPE_GROUP, (name,))


def environment_address(name: str) -> Address:
    """`environment/NAME`."""
    return Address(Kind.ENVIRONMENT, (name,))


def tag_address(environment: str, tag: str) -> Address:
    """`environment_tag/NAME/TAG`."""
    return Address(Kind.ENVIRONMENT_TAG, (environment, tag))


def deployment_address(name: str) -> Address:
    """`deployment/NAME`."""
    return Address(Kind.DEPLOYMENT, (name,))


def version_address(deployment: str, version: str) -> Address:
    """`version/DEPLOYMENT/VERSION`."""
    return Address(Kind.VERSION, (deployment, version))


def env_var_address(deployment: str, version: str, name: str) -> Address:
    """`env_var/DEPLOYMENT/VERSION/NAME`."""
    return Address(Kind.ENV_VAR, (deployment, version, name))


def package_address(deployment: str, version: str) -> Address:
    """`package/DEPLOYMENT/VERSION`."""
    return Address(Kind.PACKAGE, (deployment, version))


def service_address(name: str) -> Address:
    """`service/NAME`."""
    return Address(Kind.SERVICE, (name,))


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One object of UbiOps with only the fields that we manage, under UbiOps' names."""

    address: Address
    fields: Mapping[str, Any]
    ignored: tuple[FieldPath, ...] = ()
    """Of a desired one: fields that somebody else sets once it exists; `()` among them stands for all."""


State = Mapping[Address, Resource]

IMMUTABLE: Final[Mapping[Kind, frozenset[str]]] = {
    # Absent from the update model of the 4.15 client; UbiOps reference, section 8.
    Kind.DEPLOYMENT: frozenset({"input_type", "output_type", "supports_request_format"}),
    # `secret` can go from false to true, never back.
    Kind.ENV_VAR: frozenset({"secret"}),
}

SERVER_DEFAULTS: Final[Mapping[Kind, Mapping[str, Any]]] = {
    # What a field becomes when it leaves the spec (UbiOps reference, 3.2, 3.3 and 3.8).
    Kind.DEPLOYMENT: {"description": ""},
    Kind.VERSION: {
        "description": "",
        "scaling_strategy": "default",
        "instance_processes": 1,
        "maximum_queue_size": 100000,
        "request_retention_mode": "full",
        "request_retention_time": 604800,
        "restart_request_interruption": False,
        "health_check": None,
        "command": None,
        "args": None,
        "ports": [],
    },
    Kind.SERVICE: {
        "description": "",
        "authentication_method_token_enabled": True,
        "authentication_header_pass_through": False,
        "request_logging_excluded_paths": "",
        "request_logging_excluded_extensions": [],
        "rate_limit": None,
        "rate_limit_user_default": None,
        "concurrency_limit": None,
        "concurrency_limit_user_default": None,
        "cache_aware_llm_routing": False,
        "type": "standard",
        "imported_name": None,
        "imported_namespace": None,
        "imported_cluster_domain": None,
    },
}

UNORDERED: Final = frozenset({"request_logging_excluded_extensions"})
"""Fields whose list is a set on UbiOps."""
VERSION_LIST_FIELDS: Final = frozenset(
    {"id", "deployment", "version", "description", "labels", "environment_name", "environment_tag",
     "minimum_instances", "maximum_instances", "maximum_idle_time", "scaling_strategy", "instance_processes",
     "request_retention_mode", "request_retention_time", "active_revision"}
)  # fmt: skip
"""What the list of versions tells (UbiOps reference, 3.3): enough for those that only sleep for a rollback."""

SERVICE_LIST_FIELDS: Final = frozenset(
    {"deployment", "version", "port", "labels", "authentication_required", "type", "cache_aware_llm_routing"}
)
"""What the list of services tells (ServiceList of the 4.15 client); anything else takes a GET of the service."""
