"""Which attempts a request may have: the routing side of the settings that keep failed requests at zero.

Two policies. SAFE sends again only what no backend has seen: connection failures, refused streams, resets before a byte of the request
went out. FULL also sends again what was lost or refused on the way (resets, 502, 503, and, beside the first attempt, what is late), so
it is for replayable requests only. Both have one retry, which goes to another priority: that crosses regions at once and bounds
attempts to twice the requests. Measured in a two-region lab, kill, hang, 503 and silent drop: 0 failed GETs, 0 POSTs seen twice.
"""

from typing import Any, Literal, NamedTuple

from flota.envoy.protos import Protos
from flota.envoy.values import Fields, extension, ms, wrapped
from flota.plan import Forward, Match, Replay, Retry

Policy = Literal["FULL", "SAFE", "OFF"]

IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
"""RFC 9110 section 9.2.2."""
IDEMPOTENT_REGEX = "|".join(IDEMPOTENT)

SAFE_RETRY_ON = "connect-failure,refused-stream,reset-before-request"
FULL_RETRY_ON = SAFE_RETRY_ON + ",reset,retriable-status-codes"
GATEWAY_ERRORS = (502, 503)
MOST_RETRIES = (1 << 31) - 1
"""HTTPRouteRetry.attempts has no limit, Envoy's num_retries has 32 bits."""
SICK_PERCENT = 10
"""While all of a backend fails, so many of the requests still get a FULL second attempt: enough to see it get well."""


class Variant(NamedTuple):
    """One Envoy route of a rule. `methods`: RE2 on the method, None = any; `percent` of the requests take it, the others go on."""

    policy: Policy
    methods: str | None = None
    percent: int | None = None


def variants(match: Match, replay: Replay, sick: bool, retries: bool) -> tuple[Variant, ...]:
    """The Envoy routes of one rule, in order; Envoy has one retry policy per route, so methods that differ become routes."""
    if not retries:
        return (Variant("OFF"),)
    if replay == "None" or (replay == "Idempotent" and match.method is not None and match.method not in IDEMPOTENT):
        return (Variant("SAFE"),)
    methods = IDEMPOTENT_REGEX if replay == "Idempotent" and match.method is None else None
    full = (Variant("FULL", methods, SICK_PERCENT), Variant("SAFE", methods)) if sick else (Variant("FULL", methods),)
    return full if methods is None else (*full, Variant("SAFE"))


def other_tier(protos: Protos) -> Fields:
    """Envoy's priorities are our tiers: the second attempt goes to one that was not tried."""
    return extension(
        protos,
        "envoy.retry_priorities.previous_priorities",
        "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        update_frequency=1,
    )


def other_host(protos: Protos) -> Fields:
    """With one tier only, the next best thing is another endpoint of it."""
    return extension(
        protos, "envoy.retry_host_predicates.previous_hosts", "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    )


_Key = tuple[Policy, Retry | None, int | None, bool]
"""Policy, what the user asked for, limit of an attempt in ms, gRPC."""
_SAFE: _Key = ("SAFE", None, None, False)


class RetryBuilder:
    """Policies as messages, made once per distinct content."""

    def __init__(self, protos: Protos) -> None:
        self._policy = protos.message("envoy.config.route.v3.RetryPolicy")
        self._hedge = protos.message("envoy.config.route.v3.HedgePolicy")(hedge_on_per_try_timeout=True)
        self._other_tier = other_tier(protos)
        self._other_host = other_host(protos)
        self._made: dict[_Key, Any] = {}

    def fields(self, policy: Policy, forward: Forward, grpc: bool) -> Fields:
        """RouteAction fields `retry_policy` and `hedge_policy`; empty where what the virtual host says is right: `safe`, or nothing
        when retries are off."""
        retry = forward.retry
        if policy == "OFF" or (retry is not None and retry.attempts == 0):
            # The user's limit on one attempt then is a limit on the only one. Without any field the virtual host's policy would hold.
            return {"retry_policy": self._one_try(forward.try_timeout_ms)} if forward.try_timeout_ms or policy != "OFF" else {}
        if policy == "SAFE" and retry is None and not forward.try_timeout_ms:
            return {}
        limit, hedged = attempt_limit(policy, forward)
        key = (policy, retry, limit, grpc)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._make(policy, retry, limit, grpc)
        return {"retry_policy": made, "hedge_policy": self._hedge} if hedged else {"retry_policy": made}

    def safe(self) -> Any:
        """SAFE as a virtual host has it, for all its routes: a policy is a fifth of what a route costs Envoy. (A cluster could have it
        too, once for all hosts, but Envoy 1.40 lets that win over what a route says.)"""
        made = self._made.get(_SAFE)
        if made is None:
            made = self._made[_SAFE] = self._make(*_SAFE)
        return made

    def _one_try(self, limit_ms: int | None) -> Any:
        return self._policy(num_retries=wrapped(0), **({"per_try_timeout": ms(limit_ms)} if limit_ms else {}))

    def _make(self, policy: Policy, retry: Retry | None, limit_ms: int | None, grpc: bool) -> Any:
        # Who names codes means these and no others.
        codes = retry.codes if retry and retry.codes else GATEWAY_ERRORS if policy == "FULL" else ()
        conditions = FULL_RETRY_ON if policy == "FULL" else SAFE_RETRY_ON
        if policy == "SAFE" and codes:
            conditions += ",retriable-status-codes"
        if policy == "FULL" and grpc:
            conditions += ",unavailable"  # how gRPC says 503
        # Envoy waits for a random part of the interval: twice as long, so that what was asked for is the mean.
        backoff = 2 * retry.backoff_ms if retry and retry.backoff_ms is not None else None
        fields: Fields = {} if limit_ms is None else {"per_try_timeout": ms(limit_ms)}
        return self._policy(
            retry_on=conditions,
            retriable_status_codes=sorted(codes),
            num_retries=wrapped(min(MOST_RETRIES, max(1, (retry and retry.attempts) or 1))),
            retry_back_off={
                "base_interval": ms(5 if backoff is None else max(1, backoff)),
                "max_interval": ms(50 if backoff is None else max(1, backoff * 10)),
            },
            retry_priority=self._other_tier,
            retry_host_predicate=[self._other_host],
            host_selection_retry_max_attempts=3,
            **fields,
        )


def attempt_limit(policy: Policy, forward: Forward) -> tuple[int | None, bool]:
    """Milliseconds until an attempt is given up (False) or gets a second one beside it (True, hedging); None = never.

    The user's own limit on an attempt kills, as Gateway API has it, so it rules out hedging. A learnt limit never kills: an
    honestly slow answer is still taken.
    """
    if forward.try_timeout_ms:
        return forward.try_timeout_ms, False
    if policy == "FULL" and forward.hedge_ms is not None:
        return forward.hedge_ms, True
    return None, False
