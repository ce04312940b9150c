"""The authority behind the certificates of proxies: a Secret beside Flota, made by whoever comes first."""

from base64 import b64decode, b64encode
from datetime import datetime

import msgspec
from msgspec import Struct, field

from flota.kube.client import Client
from flota.kube.errors import ApiError
from flota.kube.resource import Resource
from flota.writeback.pki import Pair, new_authority

SECRETS = Resource("", "v1", "secrets", "Secret")
NAME = "flota-proxy-authority"


class _Secret(Struct):
    data: dict[str, str] = field(default_factory=dict)


async def authority(client: Client, namespace: str, now: datetime) -> Pair | ApiError:
    """The authority of this cluster; a new one if there is none yet."""
    found = await client.get(SECRETS, NAME, namespace)
    if isinstance(found, ApiError):
        if found.code != 404:
            return found
        pair = new_authority(now)
        found = await client.create(SECRETS, secret(NAME, namespace, {"tls.crt": pair.certificate, "tls.key": pair.key}), namespace)
        if isinstance(found, ApiError):
            if found.code != 409:
                return found
            found = await client.get(SECRETS, NAME, namespace)  # another replica was faster
            if isinstance(found, ApiError):
                return found
    return files_to_pair(files(found))


def secret(name: str, namespace: str, content: dict[str, bytes]) -> dict[str, object]:
    """core/v1 Secret."""
    data = {file: b64encode(each).decode() for file, each in content.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "type": "Opaque", "data": data}


def files(answer: bytes) -> dict[str, bytes]:
    """The data of a Secret; nothing of one that makes no sense."""
    try:
        held = msgspec.json.decode(answer, type=_Secret)
        return {name: b64decode(text) for name, text in held.data.items()}
    except (msgspec.DecodeError, ValueError):
        return {}


def files_to_pair(content: dict[str, bytes]) -> Pair:
    """Certificate and key as a Secret of type kubernetes.io/tls names them."""
    return Pair(content.get("tls.crt", b""), content.get("tls.key", b""))
