"""What happens to requests and answers on their way, as rules and single backends ask for it."""

from typing import Literal

from msgspec import Struct

MOST_GUARDS = 4
"""So many external authorisations a request can be subject to, those of its rule and of its backend together."""


class HeaderChanges(Struct, frozen=True):
    """Header filter: `set` replaces, `add` appends, `remove` deletes; pairs are (name, value)."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


class Mirror(Struct, frozen=True):
    """A copy of a share of the requests; its answer is thrown away. `numerator`/`denominator` of all requests."""

    backend: str
    numerator: int = 100
    denominator: int = 100


class Rewrite(Struct, frozen=True):
    """URLRewrite: the host and/or path the backend sees. At most one of `full_path` and `prefix` is set."""

    host: str | None = None
    full_path: str | None = None
    prefix: str | None = None
    """Replaces the matched prefix."""


class Redirect(Struct, frozen=True):
    """RequestRedirect; None keeps what the request had. `port` 0 = leave it out."""

    status: int = 302
    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    full_path: str | None = None
    prefix: str | None = None


class CrossOrigin(Struct, frozen=True):
    """CORS: which pages of other origins may use the answers (HTTPCORSFilter). `*` = all; `max_age` in seconds.

    Preflights are answered by the proxy.
    """

    origins: tuple[str, ...] = ()
    """`*`, or scheme://host[:port], where the host may be `*` or begin with `*.`."""
    credentials: bool = False
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age: int = 5


class ExternalAuth(Struct, frozen=True):
    """Ask `backend` before anything is sent on; without its consent, or its answer, nothing is (GEP-1494)."""

    backend: str
    protocol: Literal["HTTP", "GRPC"]
    path: str = ""
    """HTTP: put in front of the request's path."""
    headers: tuple[str, ...] = ()
    """Request headers it gets. HTTP: besides Host, Content-Length and Authorization; GRPC: only these, all where there are none."""
    answer_headers: tuple[str, ...] = ()
    """HTTP: headers of its answer that the backend gets; all where there are none."""
    body_bytes: int = 0
    """So much of the body is sent along; a longer one is refused."""
    hedge_ms: int | None = None
    """Ask elsewhere too when no answer came for so long."""


class Session(Struct, frozen=True):
    """Requests of one session go to one endpoint, as long as that is well; else to another, which has the session then (GEP-1619)."""

    kind: Literal["Cookie", "Header"]
    name: str
    ttl_s: int | None = None
    """Cookie: for how long it holds; None = without end."""
    transient: bool = False
    """Cookie: it tells no age, so the browser forgets it at its end; `ttl_s` is kept by the proxy alone."""
    path: str = "/"
    """Cookie: sent back for paths below it."""
    secure: bool = False
    """Cookie: sent back over TLS only."""
