"""HTTP filters that some routes need: CORS, external authorisation, sessions.

All of them are part of every listener from the start and disabled, which costs a request nothing. A route enables what it needs and
brings the whole configuration with it. So a new guard changes no listener, ends no connection, and is never missing on an old one.
"""

from collections.abc import Iterable
from typing import Any

from flota.envoy.origins import origin_pattern
from flota.envoy.protos import Protos
from flota.envoy.retries import other_host, other_tier
from flota.envoy.values import Fields, extension, ms, wrapped
from flota.plan import CrossOrigin, ExternalAuth, Session
from flota.plan.filters import MOST_GUARDS

CORS = "envoy.filters.http.cors"
GUARDS = tuple(f"flota.external_auth.{at}" for at in range(MOST_GUARDS))
"""One filter for each question: the composite filter lets only the first of a chain speak when that has to wait for an answer."""
SESSION = "envoy.filters.http.stateful_session"
AGELESS = "flota.ageless_cookie"
AUTH_TIMEOUT_MS = 5000
"""For each question to an authorisation service, attempts included."""
_CORS = "envoy.extensions.filters.http.cors.v3."
_AUTH = "envoy.extensions.filters.http.ext_authz.v3."
_COMPOSITE = "envoy.extensions.filters.http.composite.v3."
_LUA = "envoy.extensions.filters.http.lua.v3."
_SESSION = "envoy.extensions.filters.http.stateful_session.v3."
_OF_THE_ANSWER = (
    "connection", "content-encoding", "content-length", "content-type", "date", "host", "keep-alive", "server", "te", "trailer",
    "transfer-encoding", "upgrade", "x-envoy-upstream-service-time",
)  # fmt: skip
"""What an authorisation's answer says of itself: put on the request it would be untrue of that."""


def disabled_filters(protos: Protos) -> list[Fields]:
    """In the order in which a request meets them: a preflight asks for no consent, and only what may pass chooses an endpoint."""
    return [
        {**extension(protos, name, type_name), "disabled": True}
        for name, type_name in (
            (CORS, _CORS + "Cors"),
            *((name, _COMPOSITE + "Composite") for name in GUARDS),
            (AGELESS, _LUA + "Lua"),
            (SESSION, _SESSION + "StatefulSession"),
        )
    ]


class FilterBuilder:
    """What a route brings for these filters, as `typed_per_filter_config`."""

    def __init__(self, protos: Protos) -> None:
        self._protos = protos
        # A question may be asked again, and then elsewhere: the loss of a region costs no request because of its guard.
        self._again: Fields = {
            "retry_on": "connect-failure,refused-stream,reset,gateway-error,unavailable",
            "num_retries": wrapped(1),
            "retry_priority": other_tier(protos),
            "retry_host_predicate": [other_host(protos)],
            "host_selection_retry_max_attempts": 3,
        }

    def config(self, cors: CrossOrigin | None, auth: tuple[ExternalAuth, ...], session: Session | None) -> Fields:
        """Field `typed_per_filter_config`, or nothing."""
        found: Fields = {}
        if cors is not None:
            found[CORS] = self._any(_CORS + "CorsPolicy", **cors_policy(cors))
        for name, one in zip(GUARDS, auth, strict=False):
            ask = extension(self._protos, "ask", _COMPOSITE + "ExecuteFilterAction", typed_config=self._guard(one))
            found[name] = self._any(_COMPOSITE + "CompositePerRoute", matcher={"on_no_match": {"action": ask}})
        if session is not None:
            state = {"session_state": self._state(session), "strict": False}
            found[SESSION] = self._any(_SESSION + "StatefulSessionPerRoute", stateful_session=state)
            if session.transient:
                found[AGELESS] = self._any(_LUA + "LuaPerRoute", source_code={"inline_string": _without_age(session.name)})
        return {"typed_per_filter_config": found} if found else {}

    def _any(self, type_name: str, /, **fields: Any) -> Any:
        return self._protos.any(self._protos.message(type_name)(**fields))

    def _guard(self, auth: ExternalAuth) -> Fields:
        fields: Fields = {
            "transport_api_version": "V3",
            "failure_mode_allow": False,
            # Nobody was refused when nobody could be asked.
            "status_on_error": {"code": "ServiceUnavailable"},
        }
        if auth.body_bytes:
            fields["with_request_body"] = {"max_request_bytes": auth.body_bytes, "allow_partial_message": False, "pack_as_bytes": True}
        if auth.headers:
            fields["allowed_headers"] = _exactly(auth.headers)
        if auth.protocol == "GRPC":
            service: Fields = {"envoy_grpc": {"cluster_name": auth.backend}, "timeout": ms(AUTH_TIMEOUT_MS)}
            fields["grpc_service"] = {**service, "retry_policy": self._again, "initial_metadata": _impatience(auth)}
        else:
            fields["http_service"] = {**_http_service(auth), "retry_policy": self._again}
        return extension(self._protos, "envoy.filters.http.ext_authz", _AUTH + "ExtAuthz", **fields)

    def _state(self, session: Session) -> Fields:
        kind = f"envoy.extensions.http.stateful_session.{session.kind.lower()}.v3.{session.kind}BasedSessionState"
        name = f"envoy.http.stateful_session.{session.kind.lower()}"
        if session.kind == "Header":
            return {"name": name, "typed_config": self._any(kind, name=session.name)}
        cookie: Fields = {"name": session.name, "path": session.path}
        if session.ttl_s is not None:
            cookie["ttl"] = {"seconds": session.ttl_s}
        if session.secure:
            cookie["attributes"] = [{"name": "Secure"}]
        return extension(self._protos, name, kind, cookie=cookie)


def _without_age(name: str) -> str:
    """Lua that takes the age from one cookie of an answer: Envoy always tells the browser what it checks itself. `name` is a token of
    RFC 9110, which has neither quotes nor backslashes."""
    return f"""
function envoy_on_response(handle)
  local headers, mine, kept = handle:headers(), "{name}=", {{}}
  for at = 0, headers:getNumValues("set-cookie") - 1 do
    local value = headers:getAtIndex("set-cookie", at)
    if value:sub(1, #mine) == mine then value = value:gsub("; Max%-Age=%d+", "", 1) end
    kept[#kept + 1] = value
  end
  headers:remove("set-cookie")
  for _, value in ipairs(kept) do headers:add("set-cookie", value) end
end
"""


def cors_policy(cors: CrossOrigin) -> Fields:
    """envoy.extensions.filters.http.cors.v3.CorsPolicy. A preflight that does not match is answered too, without consent.

    Envoy itself tells a browser what it asked for where `*` stands, as `*` is no wildcard with credentials (Fetch standard).
    """
    return {
        "allow_origin_string_match": [origin_pattern(each) for each in cors.origins],
        "allow_methods": ", ".join(cors.methods),
        "allow_headers": ", ".join(cors.headers),
        # With credentials a page takes "*" by its letter.
        "expose_headers": ", ".join(each for each in cors.expose if each != "*" or not cors.credentials),
        "max_age": str(cors.max_age),
        "allow_credentials": wrapped(cors.credentials),
        "forward_not_matching_preflights": wrapped(False),
    }


def crossing_headers(cors: CrossOrigin) -> list[Fields]:
    """What the CORS filter would say on an answer to an origin that may use it."""
    expose = ", ".join(each for each in cors.expose if each != "*" or not cors.credentials)
    found = {"origin": "%REQ(origin)%", "credentials": "true" if cors.credentials else ""}
    headers = {f"access-control-allow-{name}": value for name, value in found.items()} | {"access-control-expose-headers": expose}
    return [
        {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"} for name, value in headers.items() if value
    ]


def _impatience(auth: ExternalAuth) -> list[Fields]:
    """The policy for such questions has no field for it, but the router that sends them takes it from headers, and takes those away."""
    if auth.hedge_ms is None:
        return []
    wishes = {"x-envoy-upstream-rq-per-try-timeout-ms": str(auth.hedge_ms), "x-envoy-hedge-on-per-try-timeout": "true"}
    return [{"key": name, "value": value} for name, value in wishes.items()]


def _http_service(auth: ExternalAuth) -> Fields:
    everything: Fields = {"patterns": [{"safe_regex": {"regex": none_of(_OF_THE_ANSWER)}}]}
    passed = _exactly(auth.answer_headers) if auth.answer_headers else everything
    return {
        # Only the cluster counts; the host is the client's.
        "server_uri": {"uri": "http://flota.external-auth", "cluster": auth.backend, "timeout": ms(AUTH_TIMEOUT_MS)},
        "path_prefix": auth.path.rstrip("/"),
        "authorization_request": {"headers_to_add": _impatience(auth)},
        "authorization_response": {"allowed_upstream_headers": passed},
    }


def _exactly(names: Iterable[str]) -> Fields:
    return {"patterns": [{"exact": name, "ignore_case": True} for name in names]}


def none_of(words: Iterable[str]) -> str:
    """An RE2 expression (which has no look-ahead) for every header name but these and HTTP/2's own (`:status`).

    It goes along the letters: a name is something else as soon as one letter differs, or it ends early, or it goes on.
    """
    heads: dict[str, list[str]] = {}
    ends = False
    for word in words:
        if word:
            heads.setdefault(word[0], []).append(word[1:])
        else:
            ends = True
    # What an expression in brackets takes by its letter: the dash comes last.
    letters = "".join(sorted(heads, key=lambda each: (each == "-", each)))
    options = [f"[^:{letters}].*", *(f"{head}{none_of(rests)}" for head, rests in sorted(heads.items()))]
    return f"(?:{'|'.join(options)}){'' if ends else '?'}"
