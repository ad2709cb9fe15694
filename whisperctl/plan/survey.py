"""What a planned rollout will meet: whether what serves answers, and whether there is room beside it.

Reads only, and only where a version of a line is to be gated.
"""

from __future__ import annotations

from dataclasses import replace

from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError
from whisperctl.plan.changes import Remark
from whisperctl.plan.cost import Surge, surge
from whisperctl.plan.downtime import duration_in_words, start_seconds
from whisperctl.plan.plan import Plan
from whisperctl.state.live import Live
from whisperctl.state.ownership import owner
from whisperctl.state.resources import service_address
from whisperctl.state.rollout import LineRollout, preview_name

DELETES_SERVICES = "services.delete"
"""A permission, as `GET /permissions` names it (UbiOps reference, 3.10)."""


def surveyed(plan: Plan, api: Api) -> Plan:
    """The plan with whether its gate compares, and with the surge; refused where it could not get to its end.

    Raises:
        Interrupted: the user interrupted.
    """
    rollout = plan.rollout
    if rollout is None or not rollout.gated:
        return plan
    plan = _with_preview_looked_at(plan, api, rollout)
    plan = _with_permission_looked_at(plan, api)
    if rollout.replaces is None:
        return plan
    try:
        running = [item for item in api.instances(rollout.deployment, rollout.replaces) if item["status"] == "running"]
    except ApiError:
        running = []
    plan = replace(plan, rollout=replace(rollout, compared=bool(running)))
    needed = max(1, min(len(running), plan.desired.stack.version.maximum_instances))
    surge, reason = _surge(api, plan.live, plan, needed)
    if plan.cost is not None:
        plan = replace(plan, cost=replace(plan.cost, surge=surge, surge_reason=reason))
    return _refused_without_room(plan, rollout, needed, reason) if surge == "does not fit" else plan


def _refused_without_room(plan: Plan, rollout: LineRollout, needed: int, reason: str) -> Plan:
    start = start_seconds(plan.live, rollout.deployment)
    down = f"for {duration_in_words(start)}, as long as the last start took" if start else "until the new one is up"
    text = (
        f"the rollout needs {needed} more instance{'s' if needed > 1 else ''} beside {rollout.replaces}, and the quota "
        f"has no room for {'them' if needed > 1 else 'it'} ({reason}).\n"
        "  Raise the quota, or set rollout.strategy: in_place, which replaces instances where they are: nothing "
        f"answers {down}."
    )
    remark = Remark(source=plan.desired.stack.source("rollout", "strategy"), text=text)
    return replace(plan, refused=(*plan.refused, remark))


def _with_preview_looked_at(plan: Plan, api: Api, rollout: LineRollout) -> Plan:
    """Refused where somebody else's service has the name of the gate's: else that shows only once all is built."""
    if not plan.desired.stack.services:
        return plan
    name = preview_name(rollout.deployment)
    service = api.find_service(name)
    if service is None or owner(service) == plan.stack:
        return plan
    text = f"{service_address(name)} is not this stack's, and the gate needs that name.\n  Rename that service."
    remark = Remark(source=plan.desired.stack.source("rollout", "strategy"), text=text)
    return replace(plan, refused=(*plan.refused, remark))


def _with_permission_looked_at(plan: Plan, api: Api) -> Plan:
    """Refused where the roles of the token's user tell that it may not delete the gate's temporary service.

    A token that may not read its own roles, or has none on the project, tells nothing: then only UbiOps knows.
    """
    if not plan.desired.stack.services:
        return plan
    try:
        allowed = api.permissions_of(str(api.user()["id"]))
        lacks = bool(allowed) and DELETES_SERVICES in api.known_permissions() - allowed
    except (ApiError, KeyError):
        return plan
    if not lacks:
        return plan
    text = (
        f"the gate deletes its temporary service, and the token lacks {DELETES_SERVICES}.\n"
        "  Give its user the role project-admin, or that permission."
    )
    remark = Remark(source=plan.desired.stack.source("rollout", "strategy"), text=text)
    return replace(plan, refused=(*plan.refused, remark))


def _surge(api: Api, live: Live, plan: Plan, needed: int) -> tuple[Surge, str]:
    types = _types(live, plan)
    try:
        quotas = api.quotas()
        if not any(item.get("quota") is not None for item in quotas):
            return "unknown", ""
        return surge(needed, types, quotas, api.project_instances(), api.instance_types())
    except ApiError:
        return "unknown", ""  # a token that may not read them: nothing is proven


def _types(live: Live, plan: Plan) -> list[Json]:
    """The instance types of the stack's group, in the order in which UbiOps tries them."""
    name = plan.desired.stack.instance_type_group.name
    group = next((group for group in live.groups if group["name"] == name), {})
    return sorted(group.get("instance_types") or (), key=lambda item: item.get("priority") or 0)
