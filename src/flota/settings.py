"""Every setting of Flota, typed once, with its default and its meaning. The only place that reads the environment."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Milliseconds = Annotated[int, Meta(ge=0)]
Socket = Annotated[str, Meta(pattern=r"^(\[[0-9a-fA-F:.]+\]|[^:\s]+):[0-9]{1,5}$")]
"""`address:port`, an IPv6 address in brackets."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings; each can be set by the environment variable `FLOTA_<NAME>`.

    Raises `msgspec.ValidationError` (from `read`) when a variable does not fit its type.
    """

    drain_ms: Milliseconds = 1000
    """How long a pod that is to stop keeps serving after traffic was told to leave it."""
    needs_timeout_ms: Milliseconds = 2000
    """How long a resource waits for the acknowledgement of what it needs before it goes out anyway."""
    learn_every_ms: Annotated[int, Meta(ge=50)] = 500
    """How often a proxy's answers are read while it has traffic."""
    envoy_concurrency: Annotated[int, Meta(ge=1)] = 1
    """Worker threads of each Envoy."""
    envoy_log_level: Literal["trace", "debug", "info", "warning", "error", "critical", "off"] = "warning"
    """Envoy's own log level (trace, debug, info, warning, error, critical, off)."""
    metrics_address: Socket = "127.0.0.1:0"
    """Where `/metrics` and `/readyz` listen; port 0 picks a free one, shown by `flota status`."""
    retries: bool = True
    """False turns every retry off: the demo's own test uses it to prove that the demo can fail."""
    trusted_hops: Annotated[int, Meta(ge=0)] = 0
    """How many proxies in front of ours are trusted to have appended to X-Forwarded-For."""
    max_body_bytes: Annotated[int, Meta(ge=0)] = 1 << 20
    """How much of a request body is kept so that it can be sent again; a longer body is streamed and not replayed."""
    max_header_kib: Annotated[int, Meta(ge=1, le=8192)] = 60
    """The largest request header block accepted, in KiB (431 beyond)."""
    idle_timeout_ms: Milliseconds = 3_600_000
    """A client connection without streams is closed after this long."""
    stream_idle_timeout_ms: Milliseconds = 300_000
    """A stream on which nothing moves is ended after this long; WebSocket and gRPC streams included. 0 turns it off."""
    request_timeout_ms: Milliseconds = 15_000
    """How long a whole request may take where the route says nothing. 0 turns it off."""
    cluster_name: Annotated[str, Meta(min_length=1)] = "cluster"
    """`flota serve`: what its cluster is called in the fleet."""
    cluster_region: str = ""
    """`flota serve`: the region of its cluster."""
    cluster_zone: str = ""
    """`flota serve`: the zone of its cluster, if it is all in one."""
    xds_listen: Socket = "0.0.0.0:18000"
    """`flota serve`: where proxies come in, by TLS with certificates on both sides."""
    xds_address: str = ""
    """`flota serve`: the `host:port` at which proxies find it; empty = the Service `flota` of its own namespace."""
    proxy_image: Annotated[str, Meta(min_length=1)] = "flota:0.1.0"
    """`flota serve`: the image of proxies, with `envoy` on its path; Flota's own has it."""
    proxy_drain_s: Annotated[int, Meta(ge=1, le=3600)] = 30
    """`flota serve`: how long a proxy that is to end still serves, while load balancers forget it and clients finish."""
    proxy_replicas: Annotated[int, Meta(ge=0)] = 2
    """`flota serve`: how many proxies a Gateway has unless its ProxyTemplate says otherwise."""


def read(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings as the environment has them."""
    environ = os.environ if environ is None else environ
    names = {f"FLOTA_{name.upper()}": name for name in Settings.__struct_fields__}
    given = {names[key]: value for key, value in environ.items() if key in names}
    return msgspec.convert(given, Settings, strict=False)
