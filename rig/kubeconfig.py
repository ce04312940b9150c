"""kubeconfig documents: one file with a context per cluster, everything embedded, so that it can be copied."""

import base64
import json
from collections.abc import Sequence
from typing import NamedTuple

from rig.certs import Pair


class Access(NamedTuple):
    """How one cluster is reached, and as whom."""

    name: str
    """Of the cluster; its context is called the same."""
    server: str
    authority: bytes
    client: Pair


def document(accesses: Sequence[Access]) -> str:
    """A kubeconfig whose current context is the first cluster. JSON, which is YAML too."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": accesses[0].name,
            "clusters": [{"name": each.name, "cluster": _cluster(each)} for each in accesses],
            "users": [{"name": each.name, "user": _user(each.client)} for each in accesses],
            "contexts": [{"name": each.name, "context": {"cluster": each.name, "user": each.name}} for each in accesses],
        },
        indent=1,
    )


def _cluster(access: Access) -> dict[str, str]:
    return {"server": access.server, "certificate-authority-data": _text(access.authority)}


def _user(pair: Pair) -> dict[str, str]:
    return {"client-certificate-data": _text(pair.certificate), "client-key-data": _text(pair.key)}


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
