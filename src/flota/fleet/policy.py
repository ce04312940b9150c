"""ReferenceGrant and BackendTLSPolicy (Gateway API v1.6.1), TrafficPolicy and ClusterSet (flota.dev/v1alpha1)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from flota.fleet.meta import ObjectMeta, Part
from flota.fleet.references import LocalObjectReference
from flota.fleet.values import (
    Duration,
    Group,
    Hostname,
    KindName,
    NamespaceName,
    ObjectName,
    OptionText,
    PortNumber,
    PreciseHostname,
    SectionName,
    Weight,
    milliseconds,
    share,
)


class ReferenceGrantFrom(Part, frozen=True):
    """Who may refer."""

    group: Group
    kind: KindName
    namespace: NamespaceName


class ReferenceGrantTo(Part, frozen=True):
    """What may be referred to; no name = all of the kind."""

    group: Group
    kind: KindName
    name: ObjectName | None = None


class ReferenceGrantSpec(Part, frozen=True):
    """Any of `from_` may refer to any of `to`."""

    from_: Annotated[tuple[ReferenceGrantFrom, ...], Meta(min_length=1, max_length=16)] = field(name="from")
    to: Annotated[tuple[ReferenceGrantTo, ...], Meta(min_length=1, max_length=16)]


class ReferenceGrant(Part, frozen=True, omit_defaults=False):
    """Lets objects of other namespaces refer to those of its own (GEP-709)."""

    metadata: ObjectMeta
    spec: ReferenceGrantSpec
    api_version: str = "gateway.networking.k8s.io/v1"
    kind: str = "ReferenceGrant"


class LocalPolicyTargetReferenceWithSectionName(Part, frozen=True):
    """What a policy is about: an object of its namespace, or a named section (port, rule) of it."""

    group: Group
    kind: KindName
    name: ObjectName
    section_name: SectionName | None = None


AbsoluteURI = Annotated[
    str, Meta(pattern=r"^[^:/?#]+://", min_length=1, max_length=253, description="a URI such as spiffe://trust/workload")
]


class SubjectAltName(Part, frozen=True):
    """A name that the backend's certificate must have."""

    type: Literal["Hostname", "URI"]
    hostname: Hostname | None = None
    uri: AbsoluteURI | None = None


WellKnownCACertificates = Annotated[
    str,
    Meta(
        pattern=r"^(System|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
        r"/([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])\Z",
        min_length=1,
        max_length=253,
        description="System, or domain/name of an implementation",
    ),
]


class BackendTLSPolicyValidation(Part, frozen=True):
    """How the backend's certificate is checked; `hostname` is the SNI, too."""

    hostname: PreciseHostname
    ca_certificate_refs: Annotated[tuple[LocalObjectReference, ...], Meta(max_length=8)] = ()
    well_known_ca_certificates: WellKnownCACertificates | None = field(name="wellKnownCACertificates", default=None)
    subject_alt_names: Annotated[tuple[SubjectAltName, ...], Meta(max_length=5)] = ()


class BackendTLSPolicySpec(Part, frozen=True):
    """What it is about, and how TLS is spoken to it."""

    target_refs: Annotated[tuple[LocalPolicyTargetReferenceWithSectionName, ...], Meta(min_length=1, max_length=16)]
    validation: BackendTLSPolicyValidation
    options: Annotated[dict[str, OptionText], Meta(max_length=16)] = field(default_factory=dict)


class BackendTLSPolicy(Part, frozen=True, omit_defaults=False):
    """TLS from the Gateway to backends (GEP-1897)."""

    metadata: ObjectMeta
    spec: BackendTLSPolicySpec
    api_version: str = "gateway.networking.k8s.io/v1"
    kind: str = "BackendTLSPolicy"


PlaceName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?\Z",
        min_length=1,
        max_length=63,
        description="letters, digits, dashes, underscores and dots",
    ),
]
"""A region or zone."""
ClusterName = NamespaceName


class TierMember(Part, frozen=True):
    """A cluster, or all clusters of a region; exactly one of the two. `weight` counts inside its tier."""

    cluster: ClusterName | None = None
    region: PlaceName | None = None
    weight: Weight = 1


Tier = Annotated[tuple[TierMember, ...], Meta(min_length=1, max_length=64)]


class Places(Part, frozen=True):
    """Regions and clusters; a cluster is inside when either names it."""

    regions: Annotated[tuple[PlaceName, ...], Meta(max_length=256)] = ()
    clusters: Annotated[tuple[ClusterName, ...], Meta(max_length=256)] = ()


class Spill(Part, frozen=True):
    """The next tier takes its share when less than `below` of a tier is healthy; `Never` = strict."""

    below: Annotated[str, Meta(pattern=r"^(Never|100%|[0-9]{1,2}%)\Z", description="a whole percentage such as 70%, or Never")] = "70%"


class FailBack(Part, frozen=True):
    """How long a tier must be well again before it gets its traffic back."""

    after: Duration = "2s"


class TrafficHealthCheck(Part, frozen=True):
    """A GET of `path`, or a TCP connect without one; `port` None = that of the endpoint."""

    path: Annotated[str, Meta(pattern=r"^/[!-~]*\Z", max_length=1024, description="an absolute path without blanks")] | None = None
    port: PortNumber | None = None
    host: PreciseHostname | None = None
    interval: Duration | None = None
    timeout: Duration | None = None


class TrafficPolicySpec(Part, frozen=True):
    """Design section 6.1. The default of every field: nearest first, everything else a reserve."""

    target_refs: Annotated[tuple[LocalPolicyTargetReferenceWithSectionName, ...], Meta(min_length=1, max_length=16)]
    prefer: Literal["Nearest", "Weights", "Order"] = "Nearest"
    tiers: Annotated[tuple[Tier, ...], Meta(max_length=16)] = ()
    allow: Places | None = None
    forbid: Places | None = None
    spill: Spill | Literal["Never"] = Spill()
    fail_back: FailBack = FailBack()
    replay: Literal["Idempotent", "All", "None"] = "Idempotent"
    health_check: TrafficHealthCheck | None = None

    @property
    def spill_below(self) -> float | None:
        """Healthy share (0.0 to 1.0) of a tier under which the next one takes its share; None = never."""
        below = self.spill if isinstance(self.spill, str) else self.spill.below
        return None if below == "Never" else share(below)

    @property
    def fail_back_ms(self) -> int:
        """Milliseconds that a tier must be well before it gets its traffic back."""
        return milliseconds(self.fail_back.after)


class TrafficPolicy(Part, frozen=True, omit_defaults=False):
    """Where the traffic of a service or route goes."""

    metadata: ObjectMeta
    spec: TrafficPolicySpec
    api_version: str = "flota.dev/v1alpha1"
    kind: str = "TrafficPolicy"


class ClusterSetMember(Part, frozen=True):
    """A cluster. `manifests` = its folder, by default of its own name."""

    name: ClusterName
    region: PlaceName
    zone: PlaceName | None = None
    manifests: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None


class Distance(Part, frozen=True):
    """Round-trip time between two regions, in milliseconds."""

    between: tuple[PlaceName, PlaceName]
    rtt: Annotated[float, Meta(ge=0, le=60_000)]


class ClusterSetSpec(Part, frozen=True):
    """The members and how far apart their regions are."""

    clusters: Annotated[tuple[ClusterSetMember, ...], Meta(min_length=1, max_length=256)]
    distances: Annotated[tuple[Distance, ...], Meta(max_length=4096)] = ()


class ClusterSet(Part, frozen=True, omit_defaults=False):
    """A fleet: its clusters, regions and distances. Cluster-scoped."""

    metadata: ObjectMeta
    spec: ClusterSetSpec
    api_version: str = "flota.dev/v1alpha1"
    kind: str = "ClusterSet"
