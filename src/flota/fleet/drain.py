"""Traffic that is told to keep away for a while."""

from datetime import datetime

from msgspec import Struct


class Drain(Struct, frozen=True):
    """No traffic to a cluster or region until a time; absence of endpoints is not a drain. `target` as it was typed."""

    target: str
    until: datetime
