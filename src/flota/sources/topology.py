"""Where a cluster is, by the well-known labels of its nodes."""

from collections import Counter
from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct, field

from flota.fleet.meta import Key
from flota.kube.cache import Undecodable
from flota.kube.resource import Resource

NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"


class Place(Struct, frozen=True):
    """Region and zone of a node; empty where it has no such label."""

    region: str = ""
    zone: str = ""


class _Meta(Struct):
    labels: dict[str, str] = field(default_factory=dict)


class _Node(Struct):
    metadata: _Meta


_node = msgspec.json.Decoder(_Node)


def place_of(raw: Raw, before: Place | None) -> Place | Undecodable:
    """The place of a node, from its metadata."""
    try:
        labels = _node.decode(raw).metadata.labels
    except msgspec.DecodeError as error:
        return Undecodable("Invalid", str(error))
    place = Place(labels.get(REGION, ""), labels.get(ZONE, ""))
    return before if place == before else place


def whole(nodes: Mapping[Key, Place]) -> Place:
    """The place of a cluster: the region of most of its nodes; the zone only if all nodes are in one."""
    regions = Counter(each.region for each in nodes.values() if each.region)
    zones = {each.zone for each in nodes.values()}
    region = min(regions, key=lambda name: (-regions[name], name), default="")
    return Place(region, zones.pop() if len(zones) == 1 else "")
