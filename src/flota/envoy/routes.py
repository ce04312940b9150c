"""Plan entries as Envoy routes, and virtual hosts as bytes made once."""

import hashlib
from typing import Any

import msgspec

from flota.envoy.filters import FilterBuilder, crossing_headers
from flota.envoy.matches import header_changes, host_header, one_after_other, route_match, share
from flota.envoy.parts import Part, parts
from flota.envoy.protos import Protos
from flota.envoy.retries import RetryBuilder, Variant, variants
from flota.envoy.rewrites import redirect, rewritten_path
from flota.envoy.values import Fields, ms, wrapped
from flota.envoy.wire import CDS, Ref, field
from flota.plan import Forward, HeaderChanges, Redirect, Respond, RouteEntry, Session, VirtualHost, WeightedBackend
from flota.settings import Settings

NO_BACKEND = "flota/no-backend"
"""A cluster that never exists: its share of requests is answered 500, or UNAVAILABLE of gRPC (HTTP- and GRPCRouteRule.backendRefs)."""


class EncodedHost(msgspec.Struct, frozen=True):
    """A virtual host as field 2 of a RouteConfiguration, ready to be joined, and what it needs."""

    domain: str
    body: bytes
    needs: frozenset[Ref]


class RouteBuilder:
    """Virtual hosts → bytes. Holds message classes and policies made once; no memory of what it built."""

    def __init__(self, protos: Protos, settings: Settings) -> None:
        self._route = protos.message("envoy.config.route.v3.Route")
        self._host = protos.message("envoy.config.route.v3.VirtualHost")
        self._retries = RetryBuilder(protos)
        self._filters = FilterBuilder(protos)
        self._settings = settings

    def host(self, host: VirtualHost) -> EncodedHost:
        """All entries of a host, each as one to three Envoy routes."""
        message = self._host(
            name=host.domain,
            domains=[host.domain],
            routes=[route for entry in host.entries for route in self.routes(entry, host.domain)],
            # Bodies up to this size are kept until the answer begins, so that they can be sent again.
            request_body_buffer_limit=wrapped(self._settings.max_body_bytes),
            **self._retried(host),
        )
        needs = frozenset((CDS, name) for entry in host.entries for name in used_backends(entry))
        return EncodedHost(host.domain, field(2, message.SerializeToString(deterministic=True)), needs)

    def _retried(self, host: VirtualHost) -> Fields:
        """What is sent again where a route says nothing else."""
        forwards = any(isinstance(entry.action, Forward) for entry in host.entries)
        return {"retry_policy": self._retries.safe()} if forwards and self._settings.retries else {}

    def routes(self, entry: RouteEntry, domain: str) -> list[Any]:
        """The Envoy routes of one entry."""
        name = route_name(entry)
        return [route for part in parts(entry) for route in self._part(part, domain, name)]

    def _part(self, part: Part, domain: str, name: str) -> list[Any]:
        entry, action = part.entry, part.entry.action
        rule = None if isinstance(action, Forward) and _per_backend(action) else entry.request_headers
        common = {"name": name, **header_changes(rule, entry.response_headers)}
        common |= self._filters.config(entry.cors, entry.auth, _session(action))
        if part.crossing is not None:
            common["response_headers_to_add"] = [*common.get("response_headers_to_add", ()), *crossing_headers(part.crossing)]
        if isinstance(action, Redirect):
            match = route_match(entry.match, Variant("OFF"), *part.portion)
            return [self._route(match=match, redirect=redirect(action, entry.match.path, domain), **common)]
        if isinstance(action, Respond):
            match = route_match(entry.match, Variant("OFF"), *part.portion)
            return [self._route(match=match, direct_response=_respond(action), **common)]
        chosen = variants(entry.match, action.replay, action.sick, self._settings.retries)
        shared = self._forward(entry, action)
        return [
            self._route(
                match=route_match(entry.match, variant, *part.portion),
                route={**shared, **self._retries.fields(variant.policy, action, entry.match.grpc)},
                **common,
            )
            for variant in chosen
        ]

    def _forward(self, entry: RouteEntry, action: Forward) -> Fields:
        fields = _destination(action.backends, entry.request_headers)
        # To a gRPC client Envoy says 503 as UNAVAILABLE, and 500 as UNKNOWN, which would tell it not to try again.
        fields["cluster_not_found_response_code"] = "SERVICE_UNAVAILABLE" if entry.match.grpc else "INTERNAL_SERVER_ERROR"
        fields["timeout"] = ms(self._timeout(entry, action))
        if entry.match.grpc:
            fields["max_stream_duration"] = {"grpc_timeout_header_max": ms(0)}  # the client's own grpc-timeout counts
        if action.mirrors:
            fields["request_mirror_policies"] = [
                {
                    "cluster": mirror.backend,
                    "runtime_fraction": share(mirror.numerator, mirror.denominator),
                    "disable_shadow_host_suffix_append": True,
                }
                for mirror in action.mirrors
            ]
        host = host_header(entry.request_headers)
        if action.rewrite is not None:
            fields.update(rewritten_path(action.rewrite, entry.match.path))
            host = action.rewrite.host or host
        if host is not None:
            fields["host_rewrite_literal"] = host
        return fields

    def _timeout(self, entry: RouteEntry, action: Forward) -> int:
        if action.timeout_ms is not None:
            return action.timeout_ms
        # A gRPC stream may last; a call says itself how long it waits.
        return 0 if entry.match.grpc else self._settings.request_timeout_ms


def _session(action: Forward | Redirect | Respond) -> Session | None:
    return action.backends[0].session if isinstance(action, Forward) and len(action.backends) == 1 else None


def _per_backend(action: Forward) -> bool:
    """Whether backends change request headers themselves. Envoy would do that before what the rule says, so then the rule's
    changes go there too. (Answers pass the backend's changes first, as they should.)
    """
    return any(one.request_headers is not None for one in action.backends if one.weight > 0)


def _destination(backends: tuple[WeightedBackend, ...], rule: HeaderChanges | None) -> Fields:
    shares = [one for one in backends if one.weight > 0]
    if not shares:
        return {"cluster": NO_BACKEND}
    if all(one.request_headers is None for one in shares):
        rule = None
        if len(shares) == 1 and shares[0].response_headers is None:
            return {"cluster": shares[0].backend or NO_BACKEND}
    return {"weighted_clusters": {"clusters": [_weighted(one, rule) for one in shares]}}


def _weighted(one: WeightedBackend, rule: HeaderChanges | None) -> Fields:
    fields = {"name": one.backend or NO_BACKEND, "weight": wrapped(one.weight)}
    fields |= header_changes(one_after_other(rule, one.request_headers), one.response_headers)
    host = host_header(one.request_headers)
    return fields if host is None else {**fields, "host_rewrite_literal": host}


def _respond(action: Respond) -> Fields:
    return {"status": action.status, "body": {"inline_string": action.body}} if action.body else {"status": action.status}


def used_backends(entry: RouteEntry) -> set[str]:
    """Names of the backends that requests of this entry, copies of them, or questions about them, go to."""
    names = {guard.backend for guard in entry.auth}
    if isinstance(entry.action, Forward):
        names |= {mirror.backend for mirror in entry.action.mirrors}
        for one in entry.action.backends:
            if one.backend is not None and (one.weight > 0 or one.session is not None):
                names |= {one.backend, *(mirror.backend for mirror in one.mirrors), *(guard.backend for guard in one.auth)}
    return names


def route_name(entry: RouteEntry) -> str:
    """`HTTPRoute/<namespace>/<name>/<digest of the match>`: what access logs call it. Without an index, which a reorder would change."""
    source = entry.source
    digest = hashlib.blake2b(msgspec.msgpack.encode(entry.match), digest_size=4).hexdigest()
    return f"{source.kind}/{source.namespace}/{source.name}/{source.rule_name or digest}"
