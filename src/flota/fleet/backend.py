"""XBackend and XBackendTrafficPolicy (Gateway API v1.6.1, gateway.networking.x-k8s.io/v1alpha1)."""

from typing import Annotated, Literal

from msgspec import Meta

from flota.fleet.meta import ObjectMeta, Part
from flota.fleet.policy import BackendTLSPolicyValidation
from flota.fleet.references import SecretObjectReference
from flota.fleet.routes import SessionPersistence
from flota.fleet.values import Duration, Group, KindName, ObjectName, PortNumber, PreciseHostname, milliseconds


class BackendPort(Part, frozen=True):
    """The port to connect to."""

    port: PortNumber
    name: Annotated[str, Meta(max_length=63)] | None = None


class ExternalHostnameBackend(Part, frozen=True):
    """A name that DNS knows."""

    hostname: PreciseHostname


class BackendTLS(Part, frozen=True):
    """TLS towards the backend. Without `validation`: its hostname, and the roots of the system."""

    mode: Literal["None", "ServerOnly", "ClientAndServer"]
    client_certificate_ref: SecretObjectReference | None = None
    validation: BackendTLSPolicyValidation | None = None


class BackendSpec(Part, frozen=True):
    """Where it is and what is spoken to it; no protocol = what the route speaks."""

    type: Literal["ExternalHostname"]
    port: BackendPort
    external_hostname: ExternalHostnameBackend | None = None
    protocol: Literal["TCP", "HTTP", "HTTP2", "HTTP11", "H2C", "MCP"] | None = None
    tls: BackendTLS | None = None


class XBackend(Part, frozen=True, omit_defaults=False):
    """A destination outside of the clusters (GEP-4894)."""

    metadata: ObjectMeta
    spec: BackendSpec
    api_version: str = "gateway.networking.x-k8s.io/v1alpha1"
    kind: str = "XBackend"


class LocalPolicyTargetReference(Part, frozen=True):
    """What a policy is about, in its own namespace."""

    group: Group
    kind: KindName
    name: ObjectName


class BudgetDetails(Part, frozen=True):
    """Which share of the requests may be second attempts, counted over `interval`."""

    percent: Annotated[int, Meta(ge=0, le=100)] = 20
    interval: Duration = "10s"


class RequestRate(Part, frozen=True):
    """So many requests in an interval."""

    count: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    interval: Duration | None = None

    @property
    def per_second(self) -> float:
        """Requests a second; what is not given is the default of the whole (10 in 1s)."""
        return (self.count or 10) * 1000 / milliseconds(self.interval or "1s")


class RetryConstraint(Part, frozen=True):
    """How many second attempts there may be (GEP-3388)."""

    budget: BudgetDetails = BudgetDetails()
    min_retry_rate: RequestRate = RequestRate(10, "1s")


class BackendTrafficPolicySpec(Part, frozen=True):
    """What it is about, and how traffic to that is treated."""

    target_refs: Annotated[tuple[LocalPolicyTargetReference, ...], Meta(min_length=1, max_length=16)]
    retry_constraint: RetryConstraint | None = None
    session_persistence: SessionPersistence | None = None


class XBackendTrafficPolicy(Part, frozen=True, omit_defaults=False):
    """How traffic to backends is treated, whatever routes send it (GEP-1619, GEP-3388)."""

    metadata: ObjectMeta
    spec: BackendTrafficPolicySpec
    api_version: str = "gateway.networking.x-k8s.io/v1alpha1"
    kind: str = "XBackendTrafficPolicy"
