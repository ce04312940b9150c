"""What can go wrong between us and an API server, as a value."""

import contextlib
from collections.abc import Mapping

import msgspec
from msgspec import Struct

_MAX_TEXT = 300


class ApiError(Struct, frozen=True):
    """An answer that is not what was asked for, or none.

    `code`: HTTP status, 0 = no answer. `reason`: that of the meta/v1 Status (NotFound, Conflict, Expired, …); without an answer
    Unreachable, TimedOut, Untrusted (TLS) or NoCredentials; for an answer that makes no sense BadAnswer or TooLarge.
    `retry_after`: seconds, as the server asks.
    """

    code: int
    reason: str
    message: str
    retry_after: float | None = None
    field_causes: tuple[str, ...] = ()
    """Fields that a validation refused, as `spec.rules[0]: why`."""

    @property
    def may_pass(self) -> bool:
        """Whether it may go away by itself."""
        return self.code in (0, 408, 429, 500, 502, 503, 504)

    @property
    def not_done(self) -> bool:
        """Whether it is certain that the request had no effect and may be sent again, whatever it was."""
        return self.code == 429

    @property
    def gone(self) -> bool:
        """Whether a resource version (or continue token) is too old to go on from."""
        return self.code == 410 or self.reason in ("Expired", "Gone")

    @property
    def too_new(self) -> bool:
        """Whether a resource version is one that the server has not reached: it lags, or its store was restored."""
        return self.code == 504 and "too large resource version" in self.message.lower()


class _Cause(Struct):
    field: str = ""
    message: str = ""


class _Details(Struct, rename="camel"):
    retry_after_seconds: int = 0
    causes: list[_Cause] | None = None


class _Status(Struct):
    kind: str = ""
    reason: str = ""
    message: str = ""
    code: int = 0
    details: _Details | None = None


def from_answer(code: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error in an answer whose HTTP status is 400 or more; `body` may be anything (a proxy's HTML too)."""
    status = _status(body)
    after = _seconds(headers.get("Retry-After"))
    if status is None:
        text = body[:_MAX_TEXT].decode("utf-8", "replace").strip()
        return ApiError(code, _REASONS.get(code, "BadAnswer"), text or f"HTTP {code}", after)
    return _from_status(status, code, after)


def from_status(body: bytes | msgspec.Raw) -> ApiError:
    """The error that a watch sends as an event: `body` is its meta/v1 Status."""
    status = _status(body)
    if status is None:
        return ApiError(500, "BadAnswer", "an error event without a Status")
    return _from_status(status, status.code or 500, None)


def _from_status(status: _Status, code: int, after: float | None) -> ApiError:
    details = status.details or _Details()
    if after is None and details.retry_after_seconds:
        after = float(details.retry_after_seconds)
    causes = tuple(f"{cause.field}: {cause.message}" for cause in details.causes or ())
    return ApiError(code, status.reason or _REASONS.get(code, "Unknown"), status.message or f"HTTP {code}", after, causes)


def _status(body: bytes | msgspec.Raw) -> _Status | None:
    with contextlib.suppress(msgspec.DecodeError):
        status = msgspec.json.decode(body, type=_Status)
        return status if status.kind == "Status" else None
    return None


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() else None


_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
