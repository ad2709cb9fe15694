"""The lease as it stands among the labels of its deployment: read and written in single tries that wait for nothing.

UbiOps replaces labels as a whole: what is written is the map that was just read, with the lease and the holder's own
changes over it, so that nobody's labels are undone.
"""

from __future__ import annotations

from whisperctl.apply.holder import new_holder, renewed
from whisperctl.clock import StoppableClock
from whisperctl.control.api import Api, Json
from whisperctl.state.label_text import merged
from whisperctl.state.labels import Labels, lease_change


class LeaseLabel:
    """The label of one holder on one deployment."""

    def __init__(self, api: Api, deployment: str, clock: StoppableClock) -> None:
        self.deployment = deployment
        self.changes: dict[str, str | None] = {}
        """Labels that the holder has changed, by their names: each write sends them again. None removes one."""
        self._urgent, self._clock = api.urgent(), clock
        self.new_holder()

    def new_holder(self) -> None:
        """Begin anew: whoever takes a lease again is another holder, and has changed nothing yet."""
        self.holder = new_holder()
        self.changes.clear()

    def read(self) -> Json | None:
        """The deployment as it is now; None if there is none."""
        return self._urgent.deployment(self.deployment)

    def is_on(self, raw: Json | None) -> bool:
        """Whether this holder's lease is on the deployment that was read as `raw`."""
        holder = Labels.of(raw).lease
        return holder is not None and holder.nonce == self.holder.nonce

    def over(self, raw: Json | None) -> dict[str, str]:
        """All labels to send for a deployment that was just read as `raw`."""
        return merged(Labels.of(raw).all, self.changes | lease_change(self.holder))

    def write(self, raw: Json | None) -> float:
        """Send them; the clock's `boottime` right before."""
        sent = self._clock.boottime()
        self._urgent.update_deployment(self.deployment, {"labels": self.over(raw)})
        return sent

    def write_again(self, raw: Json | None) -> float:
        """Send them with a lease that was renewed; the clock's `boottime` right before."""
        self.holder = renewed(self.holder)
        return self.write(raw)
