"""The ClusterSet → which clusters there are and which folder's manifests are whose. Pure."""

from collections.abc import Mapping

import msgspec

from flota.fleet.policy import ClusterSet, ClusterSetMember
from flota.fleet.problem import Problem
from flota.sources.positions import Path


class Member(msgspec.Struct, frozen=True):
    """A cluster. `folder` is relative to the fleet's folder; None = it names none that may be used."""

    name: str
    region: str
    zone: str | None
    folder: str | None


class Layout(msgspec.Struct, frozen=True):
    """The fleet as its ClusterSet describes it."""

    name: str = ""
    members: tuple[Member, ...] = ()
    distances: Mapping[tuple[str, str], float] = {}
    faults: tuple[tuple[Path, Problem], ...] = ()
    """What is wrong with it, and with which field."""

    def folders(self) -> tuple[str, ...]:
        """The folders to read, each once, none inside another."""
        named = sorted({member.folder for member in self.members if member.folder is not None})
        return tuple(each for each in named if not any(each.startswith(other + "/") for other in named))

    def clusters_of(self, path: str) -> tuple[str, ...]:
        """Whose manifests the file at `path` holds: clusters may share a folder."""
        return tuple(m.name for m in self.members if m.folder is not None and path.startswith(m.folder + "/"))


def layout_of(cluster_set: ClusterSet | None) -> Layout:
    """The layout; a member that is named twice counts once, a `manifests` that leads outside is a problem of its member."""
    if cluster_set is None:
        message = "there is no ClusterSet at the top of the folder; `flota init` writes one to start from"
        return Layout(faults=(((), Problem(None, "ClusterSet", "", "", "NoClusterSet", message)),))
    members: dict[str, Member] = {}
    faults: list[tuple[Path, Problem]] = []
    for number, each in enumerate(cluster_set.spec.clusters):
        if each.name in members:
            message = f'spec.clusters[{number}].name: "{each.name}" is there already; the first one stays, rename this one'
            at: Path = ("spec", "clusters", number, "name")
            faults.append((at, _problem(cluster_set, None, "DuplicateCluster", message)))
            continue
        folder = _inside(each.manifests if each.manifests is not None else each.name)
        if folder is None:
            at = ("spec", "clusters", number, "manifests")
            faults.append((at, _problem(cluster_set, each.name, "InvalidManifests", _outside(number, each))))
        members[each.name] = Member(each.name, each.region, each.zone, folder)
    distances: dict[tuple[str, str], float] = {}
    for distance in cluster_set.spec.distances:
        one, other = distance.between
        distances[one, other] = distances[other, one] = distance.rtt
    return Layout(cluster_set.metadata.name, tuple(members.values()), distances, tuple(faults))


def _inside(path: str) -> str | None:
    """The path without `.` parts; None when it is absolute, hidden, the top itself or leads up."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or not parts or any(part.startswith(".") or "\0" in part for part in parts):
        return None
    return "/".join(parts)


def _outside(number: int, member: ClusterSetMember) -> str:
    return (
        f'spec.clusters[{number}].manifests: "{member.manifests or member.name}" is not a folder below this one; '
        "name a sub-folder, relative, without `..` or parts that start with a dot"
    )


def _problem(cluster_set: ClusterSet, cluster: str | None, reason: str, message: str) -> Problem:
    return Problem(cluster, "ClusterSet", "", cluster_set.metadata.name, reason, message)
