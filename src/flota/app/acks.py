"""What proxies have acknowledged, as replicas tell each other, and what follows from it for a Gateway. Pure."""

from collections.abc import Mapping

from msgspec import Struct, field

from flota.writeback.conditions import Delivered


class NodeReport(Struct, frozen=True, omit_defaults=True):
    """What one proxy has of its Gateway's listeners. Versions are digests of content, so they mean the same to all replicas."""

    has: Mapping[str, str] = field(default_factory=dict)
    """Listener → version that is in use."""
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Listener → (version, Envoy's words)."""


Nodes = Mapping[str, NodeReport]
"""By node id: proxies that follow a replica."""


def delivered(wanted: Mapping[str, str], nodes: Nodes) -> Delivered:
    """`wanted`: listener → version that is planned; `nodes`: the Gateway's proxies, whichever replica they follow."""
    if not nodes:
        return Delivered()
    lacking = {node: frozenset(name for name, version in wanted.items() if each.has.get(name) != version) for node, each in nodes.items()}
    nobody = frozenset.intersection(*lacking.values())
    refused = {
        name: each.refused[name][1]
        for each in nodes.values()
        for name in nobody & each.refused.keys()
        if each.refused[name][0] == wanted[name]
    }
    behind = tuple(sorted(node.rpartition("/")[2] for node, names in lacking.items() if names - nobody))
    return Delivered(len(nodes), nobody - refused.keys(), refused, behind)
