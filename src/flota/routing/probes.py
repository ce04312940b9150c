"""Active health checks: how often, and of what."""

CHECKED_EVERY_MS = ((300, 250), (1_000, 1_000), (3_000, 5_000))
"""(endpoints up to, interval). Checks cost a proxy work for each endpoint and interval; beyond the last line only
passive ejection watches."""


def interval_ms(load: int) -> int | None:
    """How often each endpoint is checked when the proxy has `load` of them in all; None = not at all."""
    return next((interval for limit, interval in CHECKED_EVERY_MS if load <= limit), None)
