"""The official `ubiops` client, as users set it up: with its validation on."""

from __future__ import annotations

import ubiops

from ubiops_emulator.testing import Emulator


def client_of(emulator: Emulator, token: str | None = None) -> ubiops.CoreApi:
    """A client for an emulator's administrator, or for whoever has the token."""
    configuration = ubiops.Configuration(host=emulator.host)
    configuration.api_key["Authorization"] = f"Token {token or emulator.token}"
    return ubiops.CoreApi(ubiops.ApiClient(configuration))


def service_user(emulator: Emulator, name: str, role: str | None) -> str:
    """The token of a new service user that has this role on the project, or none."""
    api = client_of(emulator)
    try:
        user = api.service_users_create(emulator.project, ubiops.ServiceUserCreate(name=name))
        if role:
            assignment = ubiops.RoleAssignmentCreate(assignee=user.id, assignee_type="user", role=role)
            api.role_assignments_create(emulator.project, assignment)
        return str(user.token)
    finally:
        api.api_client.close()
