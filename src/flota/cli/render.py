"""`flota render`: the exact Envoy resources or Kubernetes objects that the folder comes to, with nothing started."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from flota.app.folder import view_of_folder
from flota.cli.failure import Failure
from flota.report.failed import Failed
from flota.report.named import unknown_cluster
from flota.report.objects import objects
from flota.report.shape import API_VERSION
from flota.report.view import View

As = Literal["envoy", "objects"]
_SECRET_FIELDS = frozenset({"private_key", "privateKey", "password"})


def documents(folder: Path, what: As, cluster: str | None) -> list[dict[str, object]]:
    """One document per object, or per proxy. Raises Failure for an unknown cluster."""
    view = view_of_folder(folder)
    if what == "objects":
        found = objects(view, cluster)
        if isinstance(found, Failed):
            raise Failure(found.message, found.code)
        return list(found)
    if cluster is not None and cluster not in view.fleet.clusters:
        raise Failure(unknown_cluster(view, cluster).message, 2)
    return list(_proxies(folder, view, cluster))


def _proxies(folder: Path, view: View, cluster: str | None) -> Iterator[dict[str, object]]:
    from flota.app.encoding import proxy_options
    from flota.cli.place import states
    from flota.envoy.encode import Encoder
    from flota.envoy.protos import load
    from flota.envoy.wire import CDS, EDS, LDS, RDS, SDS, SRDS
    from flota.settings import read

    protos = load()
    options = proxy_options(protos, read(), states(folder)[0].logs)
    names = {"listeners": LDS, "scopes": SRDS, "routes": RDS, "clusters": CDS, "endpoints": EDS, "secrets": SDS}
    for name, proxy in view.plan.proxies.items():
        if cluster not in (None, name):
            continue
        snapshot = Encoder(protos, options(name)).snapshot(proxy)
        yield {
            "apiVersion": API_VERSION,
            "kind": "EnvoyResources",
            "cluster": name,
            **{
                title: [_redacted(protos.to_dict(one.body)) for _, one in sorted(snapshot.get(type_url, {}).items())]
                for title, type_url in names.items()
            },
        }


def _redacted(value: object) -> object:
    """Without private keys: what is printed ends up in tickets."""
    if isinstance(value, dict):
        return {key: "[redacted]" if key in _SECRET_FIELDS else _redacted(each) for key, each in value.items()}
    return [_redacted(each) for each in value] if isinstance(value, list) else value
