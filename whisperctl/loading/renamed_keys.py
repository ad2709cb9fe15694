"""Keys that tutorials and older clients use, and what to write today."""

from __future__ import annotations

MOVED = {
    "health_check_path": "Health checks belong to the version: version.health_check.path.",
    "health_check_interval": "Health checks belong to the version: version.health_check.interval.",
    "health_check_port": "Health checks belong to the version: version.health_check.port.",
    "health_cheack_interval": "UbiOps drops it in silence. Write version.health_check.interval.",
    "request_storage_enabled": "Write version.request_retention_mode: none, metadata or full.",
    "rate_limit_token": "Write service.rate_limit, or service.rate_limit_user_default for one caller.",
    "enabled_authentication": "Write service.authentication_required.",
    "service_type": "Write service.type.",
    "instance_type": "Write instance_type_group.name.",
    "instance_type_group_name": "Write instance_type_group.name, at the top level.",
    "instance_type_group_id": "Write instance_type_group.name, at the top level.",
    "environment_name": "Write environment.base, at the top level.",
    "environment_tag": "Write environment.base: NAME:TAG, at the top level.",
    "environment": "Write environment.base, at the top level.",
    "healthcheck": "Write version.health_check.",
    "environment_variables": "Write env, at the top level.",
    "language": "Write environment.base, at the top level; the language of audio is rollout.smoke.language.",
    "memory_allocation": "Removed from UbiOps: the instance type group decides.",
    "deployment_mode": "Removed from UbiOps.",
    "static_ip": "Removed from UbiOps.",
    "supports_request_format": "It is always true here: the package holds a Deployment class.",
    "gpu_memory_utilisation": "vLLM spells it `gpu_memory_utilization`.",
    "api_version": "Write `apiVersion`.",
    "token": "Tokens never stand in a stack file: set UBIOPS_API_TOKEN or pass --token-file.",
    "api_token": "Tokens never stand in a stack file: set UBIOPS_API_TOKEN or pass --token-file.",
}  # fmt: skip
"""Key -> hint. Sources: UbiOps/tutorials (whisper-vllm and its siblings) against the 4.15 client's models."""
