"""UbiOps' objects as tables: the fields a request may carry, and the fields of list and detail answers (4.15 models).

Contract: data only. only the names in a list of answer fields ever leave the emulator.
"""

from __future__ import annotations

from typing import Any

from ubiops_emulator.api.fields import Field

NAME = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
NAME_HINT = "only lowercase letters, digits, dots and dashes are allowed, a letter or digit first and last"
ROLE = r"[a-z][a-z0-9-]*"
ROLE_HINT = "only lowercase letters, digits and dashes are allowed, a letter first"
VARIABLE = r"[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?"
VARIABLE_HINT = "only letters, digits and underscores are allowed, a letter first and no underscore last"

DATA_TYPES = "int string double bool dict file array_int array_double array_string array_file".split()


def _name(high: int = 64, *, update: bool = True) -> Field:
    return Field(kind="str", required=True, low=1, high=high, pattern=NAME, hint=NAME_HINT, update=update)


def _limit() -> Field:
    return Field(kind="int", nullable=True, low=1, default=None)


DESCRIPTION = Field(kind="str", high=400, default="")
LABELS = Field(kind="labels", default={})

IO_FIELD = {
    "name": Field(kind="str", required=True, low=1, high=64),
    "data_type": Field(kind="str", required=True, choices=tuple(DATA_TYPES)),
    "widget": Field(
        kind="object",
        default={},
        nullable=True,
        fields={
            "type": Field(kind="str", required=True, low=1),
            "configuration": Field(kind="object", default={}),
        },
    ),
}

DEPLOYMENT = {
    "name": _name(),
    "description": DESCRIPTION,
    "labels": LABELS,
    "supports_request_format": Field(kind="bool", default=True, update=False),
    "input_type": Field(kind="str", nullable=True, choices=("structured", "plain"), default=None, update=False),
    "output_type": Field(kind="str", nullable=True, choices=("structured", "plain"), default=None, update=False),
    "input_fields": Field(kind="objects", default=[], fields=IO_FIELD),
    "output_fields": Field(kind="objects", default=[], fields=IO_FIELD),
    "default_version": Field(kind="str", low=1, create=False),
}
DEPLOYMENT_CREATED = (
    "id name supports_request_format project description input_type output_type input_fields output_fields labels"
    " creation_date last_updated"
).split()
DEPLOYMENT_DETAIL = [*DEPLOYMENT_CREATED, "default_version"]

HEALTH_CHECK = {
    "port": Field(kind="int", nullable=True, low=1, high=65535),
    "path": Field(kind="str", nullable=True, pattern=r"/.*", hint="must start with /"),
    "interval": Field(kind="int", nullable=True, low=1),
    "timeout": Field(kind="int", nullable=True, low=1),
    "failure_threshold": Field(kind="int", nullable=True, low=1),
}
PORT = {
    "public_port": Field(kind="int", required=True, low=1, high=65535),
    "deployment_port": Field(kind="int", required=True, low=1, high=65535),
    "protocol": Field(kind="str", required=True, low=1, high=16),
}
_FILTER = Field(kind="str", low=1)
VERSION = {
    "version": _name(),
    "environment": _FILTER,
    "environment_name": _FILTER,
    "environment_tag": _FILTER,
    "instance_type": _FILTER,
    "instance_type_group_id": Field(kind="uuid"),
    "instance_type_group_name": _FILTER,
    "maximum_instances": Field(kind="int", low=0),
    "minimum_instances": Field(kind="int", low=0),
    "maximum_idle_time": Field(kind="int", low=10, high=3600, default=300),
    "description": DESCRIPTION,
    "labels": LABELS,
    "request_retention_time": Field(kind="int", low=3600, high=2419200, default=604800),
    "request_retention_mode": Field(kind="str", choices=("none", "metadata", "full"), default="full"),
    "maximum_queue_size": Field(kind="int", low=1, high=10_000_000, default=100000),
    "restart_request_interruption": Field(kind="bool", default=False),
    "ports": Field(kind="objects", default=[], fields=PORT),
    "scaling_strategy": Field(kind="str", choices=("default", "moderate"), default="default"),
    "instance_processes": Field(kind="int", low=1, high=64, default=1),
    "health_check": Field(kind="object", nullable=True, default=None, fields=HEALTH_CHECK),
    "command": Field(kind="command", nullable=True, default=None),
    "args": Field(kind="command", nullable=True, default=None),
}
VERSION_LIST = (
    "id deployment version default description environment_name environment_tag status active_revision"
    " latest_revision maximum_instances minimum_instances maximum_idle_time labels creation_date last_updated"
    " request_retention_time request_retention_mode maximum_queue_size restart_request_interruption ports"
    " instance_type scaling_strategy instance_processes"
).split()
VERSION_DETAIL = [
    *VERSION_LIST,
    *"instance_type_group_id instance_type_group_name last_file_upload has_request_method has_requests_method".split(),
    *"health_check command args".split(),
]
REVISION = (
    "id version creation_date created_by status error_message has_request_method has_requests_method empty".split()
)

ENVIRONMENT = {"name": _name(1024, update=False), "description": DESCRIPTION, "labels": LABELS}
ENVIRONMENT_KEEP = "id name project creation_date last_updated description labels system".split()
TAG = {
    "name": Field(kind="str", low=1, high=128, pattern=NAME, hint=NAME_HINT, update=False),
    "status": Field(kind="str", choices=("pending", "cancelled")),
    "supports_request_format": Field(kind="bool", default=True),
}
TAG_KEEP = (
    "id name environment creation_date status supports_request_format implicit deprecated size error_message"
    " base_environment_name base_environment_tag built"
).split()

VARIABLE_FIELDS = {
    "name": Field(kind="str", required=True, low=1, high=64, pattern=VARIABLE, hint=VARIABLE_HINT),
    "value": Field(kind="str", required=True),
    "secret": Field(kind="bool", required=True),
}
VARIABLE_KEEP = "id name value secret".split()
COPY = {
    "source_deployment": Field(kind="str", required=True, low=1),
    "source_version": Field(kind="str", low=1),
}

GROUP_ITEM = {
    "id": Field(kind="uuid", required=True),
    "priority": Field(kind="int", low=0),
    "schedule_timeout": Field(kind="int", low=1, default=300),
}
GROUP = {
    "name": Field(kind="str", low=1, high=256),
    "instance_types": Field(kind="objects", required=True, fields=GROUP_ITEM),
}
GROUP_KEEP = "id name time_created time_updated instance_types".split()

SERVICE = {
    "name": _name(),
    "type": Field(kind="str", choices=("standard", "kubernetes_imported"), default="standard"),
    "deployment": Field(kind="str", low=1),
    "version": Field(kind="str", low=1, nullable=True, default=None),
    "port": Field(kind="int", required=True, low=1, high=65535),
    "description": DESCRIPTION,
    "labels": LABELS,
    "authentication_required": Field(kind="bool", default=True),
    "authentication_method_token_enabled": Field(kind="bool", default=True),
    "authentication_header_pass_through": Field(kind="bool", default=False),
    "request_logging_excluded_paths": Field(kind="str", high=400, default=""),
    "request_logging_excluded_extensions": Field(kind="strings", default=[]),
    "rate_limit": _limit(),
    "rate_limit_user_default": _limit(),
    "concurrency_limit": _limit(),
    "concurrency_limit_user_default": _limit(),
    "cache_aware_llm_routing": Field(kind="bool", default=False),
    "imported_name": Field(kind="str", nullable=True, high=256, default=None),
    "imported_namespace": Field(kind="str", nullable=True, high=256, default=None),
    "imported_cluster_domain": Field(kind="str", nullable=True, low=1, high=256, default=None),
}
SERVICE_LIST = (
    "id name deployment version port time_created time_updated labels authentication_required type"
    " cache_aware_llm_routing"
).split()
SERVICE_DETAIL = [
    *SERVICE_LIST,
    *"description authentication_method_token_enabled authentication_header_pass_through".split(),
    *"request_logging_excluded_paths request_logging_excluded_extensions rate_limit".split(),
    *"rate_limit_user_default concurrency_limit concurrency_limit_user_default imported_name".split(),
    *"imported_namespace imported_cluster_domain imported_scheme endpoint".split(),
]

INSTANCE_LIST = "id status instance_type time_created time_updated".split()
INSTANCE_PROJECT = [*INSTANCE_LIST, "deployment", "version"]
INSTANCE_DETAIL = [*INSTANCE_PROJECT, "node", "node_pool"]

REQUEST_LIST = (
    "id deployment version status success time_created time_started time_completed input_size output_size".split()
)
REQUEST_DETAIL = [*REQUEST_LIST, *"error_message timeout request_data result additional_data".split()]
REQUEST_SINGLE = [*REQUEST_DETAIL, "origin"]
REQUEST_CREATED = "id deployment version status success result error_message timeout".split()
REQUEST_BATCH = "id deployment version status time_created".split()

PROJECT_LIST = "id name creation_date advanced_permissions credits organization_name labels".split()
PROJECT_DETAIL = [*PROJECT_LIST, "suspended", "suspended_reason", "cors_origins"]
USER_KEEP = "id email name surname registration_date authentication".split()


def keep(names: list[str], body: dict[str, Any]) -> dict[str, Any]:
    """The named fields, in their documented order; one that is not set is null."""
    return {name: body.get(name) for name in names}
