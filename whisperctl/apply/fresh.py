"""Live objects read again right before a write: unchanged since the plan, or the plan is stale; lost POSTs resolved.

Labels, which UbiOps replaces as a whole, are read again before each try of a write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from whisperctl.apply.context import ApplyContext, T
from whisperctl.apply.first_read import FirstRead
from whisperctl.apply.polling import wait_for
from whisperctl.clock import Backoff
from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError, StalePlan, Unreachable
from whisperctl.state.fingerprints import fingerprint
from whisperctl.state.labels import Labels
from whisperctl.state.objects import Access, access
from whisperctl.state.ownership import SHARED, owner
from whisperctl.state.resources import SHARED_KINDS, Address, Kind

POST_ATTEMPTS = 5
"""Tries of a create whose answer was lost, each after a look whether it arrived."""


POST_PAUSES = Backoff(first=1.0, longest=8.0, jitter=0.5)
"""Between two tries of a create or an upload."""
LOOK_PAUSES = (0.5, 1.5, None)
"""Seconds between looks for what may be hidden by a copy of UbiOps' books that is a moment behind."""


APPEAR_SECONDS = 120.0
"""How long a parent that was just created may stay invisible to UbiOps itself (seen by the Terraform provider)."""


def access_to(context: ApplyContext, address: Address, api: Api | None = None) -> Access:
    """The calls for the one object behind `address`, through `api`; by itself the apply's own.

    Raises:
        ValueError: nothing at UbiOps is read, made or changed under an address of that kind, as with a package.
    """
    calls = access(api or context.api, address, context.plan.live.owned.get(address))
    if calls is None:
        raise ValueError(f"{address} is not one object")
    return calls


def read_now(context: ApplyContext, address: Address) -> Json | None:
    """The object behind `address` as it is now."""
    return access_to(context, address).read()


def write_labels(context: ApplyContext, address: Address, labels_of: Callable[[Json], Mapping[str, str]]) -> None:
    """Write the labels that follow from an object as it is right before each try, if it is there and they differ."""

    def body_of(raw: Json | None) -> Json:
        labels = labels_of(raw) if raw is not None else {}
        return {"labels": labels} if labels != Labels.of(raw).all else {}

    written = change_now(context.api, address, body_of)
    if written is not None:
        context.saw(address, written)


def change_now(api: Api, address: Address, body_of: Callable[[Json | None], Json]) -> Json | None:
    """Change an object as follows from how it is right before each try; an empty body changes nothing.

    UbiOps replaces the labels of an object as a whole: so a rate limit that is sat out undoes none that others write.

    Returns it as it is then; None if nothing was to be changed and no earlier try may have arrived.

    Raises:
        ApiError: as with any change, also where it is not there.
        ValueError: nothing at UbiOps is changed under an address of that kind.
    """
    calls = access(api.urgent(seconds=None), address)
    if calls is None:
        raise ValueError(f"{address} is not one object")

    may_have_arrived = False

    def attempt() -> Json | None:
        nonlocal may_have_arrived
        raw = calls.read()
        body = body_of(raw)
        if not body:
            return raw if may_have_arrived else None
        try:
            return calls.change(raw or {}, body)
        except ApiError as error:
            may_have_arrived = may_have_arrived or error.status != 429  # which had no effect
            raise

    return api.retried(attempt)


def change_unchanged(
    context: ApplyContext, address: Address, body_of: Callable[[Json], Json], first: FirstRead | None = None
) -> None:
    """Change an object that nobody has touched since the plan was made, as follows from it right before each try.

    `first` is the object as it was just read, unchanged.

    Raises:
        StalePlan: somebody has touched it, or it is gone.
    """
    urgent, may_have_arrived = context.api.urgent(seconds=None), False
    calls = access_to(context, address, urgent)

    def attempt() -> Json:
        nonlocal may_have_arrived
        raw = first.take() if first is not None else None
        if raw is None:
            # Once a try may have arrived, what has changed may be our own doing: nothing but the labels is looked at.
            raw = calls.read() if may_have_arrived else unchanged(context, address, urgent)
        if raw is None:
            raise StalePlan(f"{address} disappeared on UbiOps since the plan was made.\n  Plan again.")
        body = body_of(raw)
        try:
            return calls.change(raw, body)
        except ApiError as error:
            may_have_arrived = may_have_arrived or error.status != 429  # which had no effect
            raise

    context.saw(address, context.api.retried(attempt))


def unchanged(context: ApplyContext, address: Address, api: Api | None = None) -> Json | None:
    """The object as it is now, read through `api`, if nobody has touched it since the plan was made.

    Raises:
        StalePlan: somebody has.
    """
    raw = None
    for pause in LOOK_PAUSES:
        raw = access_to(context, address, api).read()
        if address.kind is Kind.ENVIRONMENT and raw is not None and owner(raw) == SHARED:
            return raw  # any stack may have made or changed it meanwhile: it is the same for all
        if fingerprint(address, raw, context.plan.desired.state) == context.seen.get(address, "absent"):
            return raw
        if pause is not None:
            context.clock.sleep(pause)
    how = "appeared" if context.seen.get(address, "absent") == "absent" else "changed" if raw else "disappeared"
    raise StalePlan(f"{address} {how} on UbiOps since the plan was made.\n  Nothing was written to it. Plan again.")


def create_once(
    context: ApplyContext, address: Address, post: Callable[[], Json], find: Callable[[], Json | None]
) -> Json | None:
    """POST until the object exists: an answer that got lost is looked up by name before anything is sent again.

    Returns the object as UbiOps tells it when asked afterwards.

    Raises:
        ApiError: UbiOps refuses it.
        TimedOut: it was created and does not appear.
    """
    attempt = 0
    since = context.clock.monotonic()
    for pause in POST_PAUSES.pauses():
        attempt += 1
        try:
            post()
        except ApiError as error:
            if not_there(error):
                if not context.created or context.clock.monotonic() - since > APPEAR_SECONDS:
                    raise
                attempt -= 1  # what it belongs to was created a moment ago and is not seen everywhere yet
                context.clock.sleep(pause)
                continue
            lost = is_lost(error)
            # Others may make what is shared at the same moment; what was sent twice may have arrived the first time.
            existing = arrived(context, find) if lost or attempt > 1 or address.kind in SHARED_KINDS else None
            if existing is not None:
                return existing
            if not lost or attempt >= POST_ATTEMPTS:
                raise
            context.say(address, f"{answer_to('the create', error)}; it did not arrive, trying again ({attempt})")
        else:
            return wait_for(
                find,
                lambda raw: raw is not None,
                clock=context.clock,
                timeout=APPEAR_SECONDS,
                what=f"{address} to appear",
            )
        context.clock.sleep(pause)
    raise AssertionError("pauses do not end")


def send_until_arrived(
    context: ApplyContext,
    address: Address,
    what: str,
    send: Callable[[], T],
    find: Callable[[], T | None],
    *,
    may_have_arrived: Callable[[ApiError], bool],
    is_young: Callable[[ApiError], bool],
) -> T:
    """What `send` returns, or what `find` finds of a request whose answer was lost: it is not sent twice blindly.

    Args:
        context: the apply.
        address: what the messages are about.
        what: the request in words.
        send: makes the request.
        find: looks for what it made; None where there is nothing.
        may_have_arrived: whether to look after this error.
        is_young: whether what it belongs to was created a moment ago, and is not seen everywhere yet.

    Raises:
        ApiError: UbiOps refuses it, or it was lost too often.
    """
    for attempt, pause in enumerate(POST_PAUSES.pauses(), 1):
        try:
            return send()
        except ApiError as error:
            there = arrived(context, find) if may_have_arrived(error) else None
            if there is not None:
                return there
            if attempt == POST_ATTEMPTS or not (is_lost(error) or is_young(error)):
                raise
            context.say(address, f"{answer_to(what, error)}; it did not arrive, trying again ({attempt})")
        context.clock.sleep(pause)
    raise AssertionError("pauses do not end")


def is_lost(error: ApiError) -> bool:
    """Whether the request may have had its effect although it was answered with an error, or not at all."""
    return isinstance(error, Unreachable) or error.status >= 500


def not_there(error: ApiError) -> bool:
    """Whether what it belongs to is not there, or a gateway on the way cannot find it: the request had no effect."""
    return error.status == 404


def answer_to(what: str, error: ApiError) -> str:
    """What became of a request, in words."""
    return f"UbiOps answered {error.status} to {what}" if error.status else f"no answer to {what}"


def arrived(context: ApplyContext, find: Callable[[], T | None]) -> T | None:
    """What a lost request made, if it did: a read may be answered from a copy that is a moment behind."""
    for pause in LOOK_PAUSES:
        result = find()
        if result is not None or pause is None:
            return result
        context.clock.sleep(pause)
    return None
