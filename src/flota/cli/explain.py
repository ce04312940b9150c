"""`flota explain`: the report, printed."""

from pathlib import Path
from typing import NamedTuple

from flota.cli import client
from flota.cli.explain_table import object_text, request_text
from flota.cli.failure import Failure
from flota.cli.options import Contexts, Output
from flota.cli.output import emit
from flota.cli.read import ask
from flota.report.explain_object import ObjectExplanation, explain_object
from flota.report.explain_request import AskedRequest, RequestExplanation, explain_request
from flota.report.named import Asked


def explain_a_request(folder: Path | Contexts, asked: AskedRequest, output: Output) -> int:
    """`flota explain request URL --from CLUSTER`."""
    query: client.Query = {
        "url": asked.url, "from": asked.source, "gateway": asked.gateway, "method": asked.method, "header": list(asked.headers),
    }  # fmt: skip
    body, _ = ask(folder, "/v1/explain/request", query, lambda view: explain_request(view, asked))
    emit(body, RequestExplanation, output, request_text)
    return 0


def explain_an_object(folder: Path | Contexts, asked: Asked, output: Output) -> int:
    """`flota explain KIND/NAME`."""
    query: client.Query = {"kind": asked.kind, "name": asked.name, "namespace": asked.namespace, "cluster": asked.cluster}
    body, _ = ask(folder, "/v1/explain/object", query, lambda view: explain_object(view, asked))
    emit(body, ObjectExplanation, output, object_text)
    return 0


class Question(NamedTuple):
    """What was typed after `flota explain`."""

    what: str
    url: str | None
    source: str | None
    gateway: str | None
    method: str
    headers: tuple[str, ...]
    namespace: str
    cluster: str | None


def explain_any(folder: Path | Contexts, asked: Question, output: Output) -> int:
    """`request` and a URL, or an object."""
    if asked.what == "request":
        if asked.url is None or asked.source is None:
            raise Failure("write `flota explain request URL --from CLUSTER`", 2)
        return explain_a_request(folder, AskedRequest(asked.url, asked.source, asked.gateway, asked.method, asked.headers), output)
    kind, *rest = asked.what.split("/")
    if asked.url is not None or not 1 <= len(rest) <= 2 or not all(rest):
        raise Failure(f"{asked.what}: write `flota explain KIND/NAME`, or `flota explain request URL --from CLUSTER`", 2)
    namespace = rest[0] if len(rest) == 2 else asked.namespace
    return explain_an_object(folder, Asked(kind, rest[-1], namespace, asked.cluster), output)
