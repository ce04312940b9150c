"""Volumes of a pod: what is in them (pure), and how they are written, so that a change appears at once and whole.

The layout is the kubelet's: `..data` is a link to a folder of one version, the visible names are links through it. Whoever watches
`..data`, as Envoy does for secrets, sees one change.
"""

import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from rig.api import Object
from rig.node.environment import Fetch, Host, MissingError, field, values
from rig.node.launch import Mount

Token = tuple[str, int]
"""(audience, seconds) of a service account token."""


class Content(Struct, frozen=True):
    """What a volume holds: file name → (content, mode)."""

    files: Mapping[str, tuple[bytes, int]]
    group: int | None = None
    """fsGroup of the pod: may read what it holds."""


class Context(Struct, frozen=True):
    """What volumes of a pod are filled from."""

    pod: Object
    ip: str
    host: Host
    fetch: Fetch
    tokens: Mapping[Token, str]


def tokens_wanted(pod: Object) -> tuple[Token, ...]:
    """The service account tokens that the pod's volumes project."""
    sources = (source for volume in pod["spec"].get("volumes", ()) for source in volume.get("projected", {}).get("sources", ()))
    wanted = (source["serviceAccountToken"] for source in sources if "serviceAccountToken" in source)
    return tuple((each.get("audience", ""), each.get("expirationSeconds", 3600)) for each in wanted)


def content(volume: Object, context: Context) -> Content | None:
    """What is in a volume; None for one that is not filled by us (emptyDir, hostPath). Raises MissingError."""
    group = (context.pod["spec"].get("securityContext") or {}).get("fsGroup")
    if "secret" in volume:
        source = volume["secret"]
        return Content(_keys("Secret", source["secretName"], source, source.get("defaultMode", 0o644), context), group)
    if "configMap" in volume:
        source = volume["configMap"]
        return Content(_keys("ConfigMap", source["name"], source, source.get("defaultMode", 0o644), context), group)
    if "downwardAPI" in volume:
        return Content(_fields(volume["downwardAPI"], context), group)
    if "projected" in volume:
        return Content(_projected(volume["projected"], context), group)
    if "emptyDir" in volume or "hostPath" in volume:
        return None
    raise MissingError(f"volume {volume['name']}: this node has secret, configMap, downwardAPI, projected, emptyDir and hostPath")


def _projected(volume: Object, context: Context) -> dict[str, tuple[bytes, int]]:
    mode = volume.get("defaultMode", 0o644)
    found: dict[str, tuple[bytes, int]] = {}
    for source in volume.get("sources", ()):
        if "secret" in source:
            found |= _keys("Secret", source["secret"]["name"], source["secret"], mode, context)
        elif "configMap" in source:
            found |= _keys("ConfigMap", source["configMap"]["name"], source["configMap"], mode, context)
        elif "downwardAPI" in source:
            found |= _fields(source["downwardAPI"], context)
        elif "serviceAccountToken" in source:
            wanted = source["serviceAccountToken"]
            token = context.tokens[wanted.get("audience", ""), wanted.get("expirationSeconds", 3600)]
            found[wanted["path"]] = (token.encode(), mode)
        else:
            raise MissingError(f"projected source {', '.join(source)}")
    return found


def _keys(kind: str, name: str, source: Object, mode: int, context: Context) -> dict[str, tuple[bytes, int]]:
    held = context.fetch(kind, name)
    if held is None:
        if source.get("optional"):
            return {}
        raise MissingError(f"{kind} {name}")
    there = values(held)
    items: Iterable[dict[str, Any]] = source.get("items") or [{"key": key, "path": key} for key in there]
    found = {}
    for item in items:
        if item["key"] not in there:
            if source.get("optional"):
                continue
            raise MissingError(f"{kind} {name} key {item['key']}")
        found[item["path"]] = (there[item["key"]], item.get("mode", mode))
    return found


def _fields(volume: Object, context: Context) -> dict[str, tuple[bytes, int]]:
    found = {}
    for item in volume.get("items", ()):
        if "fieldRef" in item:
            text = field(item["fieldRef"]["fieldPath"], context.pod, context.ip, context.host)
            found[item["path"]] = (text.encode(), item.get("mode", 0o644))
    return found


def write(folder: Path, wanted: Content) -> None:
    """Make a volume's folder hold what is wanted; nothing is touched where it does already."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "..data"
    if _same(data, wanted):
        return
    version = folder / f"..{secrets.token_hex(6)}"
    for name, (raw, mode) in wanted.files.items():
        path = version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        if wanted.group is not None:
            os.chown(path, -1, wanted.group)
        # As the kubelet: with fsGroup the group may read whatever the mode says.
        path.chmod(mode | (0o440 if wanted.group is not None else 0))
    version.mkdir(exist_ok=True)
    before = data.resolve() if data.is_symlink() else None
    staged = folder / "..data_tmp"
    staged.symlink_to(version.name)
    staged.replace(data)
    _links(folder, {name.split("/")[0] for name in wanted.files})
    if before is not None:
        shutil.rmtree(before, ignore_errors=True)


def _same(data: Path, wanted: Content) -> bool:
    if not data.is_symlink():
        return False
    there = {path.relative_to(data).as_posix(): path.read_bytes() for path in data.rglob("*") if path.is_file()}
    return there == {name: raw for name, (raw, _) in wanted.files.items()}


def _links(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir():
        if not path.name.startswith("..") and path.name not in names:
            path.unlink()
    for name in names:
        path = folder / name
        if not path.is_symlink():
            path.symlink_to(f"..data/{name}")


def mounts(container: Object, pod: Object, folder: Path) -> tuple[Mount, ...]:
    """What of the pod's volumes, which are in `folder` by name, a container sees where."""
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
    found = []
    for mount in container.get("volumeMounts", ()):
        volume = volumes[mount["name"]]
        source = Path(volume["hostPath"]["path"]) if "hostPath" in volume else folder / mount["name"]
        sub = mount.get("subPath", "")
        source = (source / sub).resolve() if sub else source
        filled = not ({"emptyDir", "hostPath"} & volume.keys())
        read_only = bool(mount.get("readOnly")) or filled
        found.append(Mount(source, mount["mountPath"].rstrip("/") or "/", read_only, source.is_file()))
    return tuple(found)
