"""One moment that is to be written: the fleet, and the plan that was made of it."""

from msgspec import Struct

from flota.fleet.fleet import Cluster, Fleet
from flota.plan import Plan

ROUTE_FIELDS = {
    "HTTPRoute": "http_routes", "GRPCRoute": "grpc_routes", "TLSRoute": "tls_routes", "TCPRoute": "tcp_routes", "UDPRoute": "udp_routes",
}  # fmt: skip
"""Kinds of routes and where a `Cluster` has them."""


class Picture(Struct, frozen=True):
    """`cluster`: the one that we write to."""

    cluster: str
    fleet: Fleet
    plan: Plan

    @property
    def objects(self) -> Cluster:
        """The objects of our cluster."""
        return self.fleet.clusters.get(self.cluster) or Cluster(self.cluster, "")
