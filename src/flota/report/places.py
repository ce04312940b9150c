"""Clusters, regions and zones by the names that people type."""

from datetime import datetime

from flota.fleet.drain import Drain
from flota.fleet.fleet import Cluster, Fleet


def is_in(cluster: Cluster, target: str) -> bool:
    """Whether a cluster is meant by a target: its own name, its region, or its zone."""
    return target in (cluster.name, cluster.region, cluster.zone)


def drain_of(fleet: Fleet, cluster: Cluster, now: datetime) -> Drain | None:
    """The drain that holds for a cluster, the longest if there are several."""
    holding = [each for each in fleet.drains if each.until > now and is_in(cluster, each.target)]
    return max(holding, key=lambda each: each.until, default=None)
