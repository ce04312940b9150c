"""Which kinds an API server serves, and in which versions. Source: Kubernetes aggregated discovery (KEP-3352)."""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct, field

from flota.kube.client import Client
from flota.kube.errors import ApiError
from flota.kube.resource import Resource

Served = Mapping[tuple[str, str], tuple[Resource, ...]]
"""(group, kind) → its versions, the one that the server prefers first."""
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class _ResponseKind(Struct):
    kind: str = ""


class _Resource(Struct, rename="camel"):
    resource: str
    scope: str = "Namespaced"
    verbs: tuple[str, ...] = ()
    response_kind: _ResponseKind | None = None


class _Version(Struct):
    version: str
    resources: tuple[_Resource, ...] = ()


class _Meta(Struct):
    name: str = ""


class _Group(Struct):
    metadata: _Meta = field(default_factory=_Meta)
    versions: tuple[_Version, ...] = ()


class _Groups(Struct):
    kind: str
    items: tuple[_Group, ...] = ()


class _OldResource(Struct):
    name: str
    kind: str
    namespaced: bool = True
    verbs: tuple[str, ...] = ()


class _OldList(Struct):
    resources: tuple[_OldResource, ...] = ()


async def discover(client: Client, wanted: Iterable[tuple[str, str]]) -> Served | ApiError:
    """The kinds of the `wanted` (group, version) pairs that can be listed and watched.

    Two requests where the server tells everything at once, else one for each pair.
    """
    pairs = set(wanted)
    found: dict[tuple[str, str], list[Resource]] = {}
    for root in ("/api", "/apis"):
        body = await client.read(root, accept=f"{_AGGREGATED},application/json")
        if isinstance(body, ApiError):
            return body
        groups = _groups(body)
        if groups is None:
            return await _one_by_one(client, pairs)
        for each in _resources(groups):
            if (each.group, each.version) in pairs:
                found.setdefault((each.group, each.kind), []).append(each)
    return {key: tuple(versions) for key, versions in found.items()}


def _groups(body: bytes) -> _Groups | None:
    try:
        groups = msgspec.json.decode(body, type=_Groups)
    except msgspec.DecodeError:
        return None
    return groups if groups.kind == "APIGroupDiscoveryList" else None


def _resources(groups: _Groups) -> Iterable[Resource]:
    for group in groups.items:
        for version in group.versions:
            for each in version.resources:
                if each.response_kind is not None and {"list", "watch"} <= set(each.verbs):
                    kind, namespaced = each.response_kind.kind, each.scope == "Namespaced"
                    yield Resource(group.metadata.name, version.version, each.resource, kind, namespaced)


async def _one_by_one(client: Client, pairs: Iterable[tuple[str, str]]) -> Served | ApiError:
    found: dict[tuple[str, str], list[Resource]] = {}
    for group, version in sorted(pairs):
        body = await client.read(f"/apis/{group}/{version}" if group else f"/api/{version}")
        if isinstance(body, ApiError):
            if body.code == 404:
                continue
            return body
        try:
            resources = msgspec.json.decode(body, type=_OldList).resources
        except msgspec.DecodeError as error:
            return ApiError(200, "BadAnswer", f"what {group}/{version} has: {error}")
        for each in resources:
            if "/" not in each.name and {"list", "watch"} <= set(each.verbs):
                found.setdefault((group, each.kind), []).append(Resource(group, version, each.name, each.kind, each.namespaced))
    return {key: tuple(versions) for key, versions in found.items()}
