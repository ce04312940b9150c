"""Everything that is wrong, once, with the place where it can be mended."""

from collections.abc import Iterable, Iterator

from flota.fleet.problem import Problem
from flota.plan import ObjectRef, ProxyPlan, RouteStatus
from flota.report.shape import Row
from flota.report.view import PodView, ProxyView, View

_SOURCES = {"secret": "Secret", "gateway": "Gateway", "backendtlspolicy": "BackendTLSPolicy"}


class ProblemRow(Row, frozen=True, kw_only=True):
    """One refusal or bad condition. `cluster` null = the top of the folder; `file` is relative to it, `line` counts from 1."""

    cluster: str | None
    kind: str
    namespace: str
    name: str
    reason: str
    message: str
    file: str | None = None
    line: int | None = None


def problem_rows(view: View) -> tuple[ProblemRow, ...]:
    """Refused objects, bad conditions, what the proxies refuse, and what does not run. Empty on a healthy fleet."""
    rows: dict[tuple[str | None, str, str, str, str, str], ProblemRow] = {}
    # Of exports the sources tell what is wrong, as they make the imports; the plan's conditions say the same in other words.
    exports = {_subject(each) for each in view.problems if each.kind == "ServiceExport"}
    planned = [each for each in view.plan.problems if _subject(each) not in exports and not _told_already(view, each)]
    failing = {(pod.cluster, "Pod", pod.namespace, pod.name) for pod in view.pods if _fails(pod)}
    given = [each for each in view.problems if _subject(each) not in failing]  # told of what wants the pod, with its file
    for each in (*given, *_told(view), *planned, *_of_proxies(view), *_of_pods(view)):
        row = _row(view, each)
        rows.setdefault((row.cluster, row.kind, row.namespace, row.name, row.reason, row.message), row)
    return tuple(sorted(rows.values(), key=_order))


def row_of(view: View, problem: Problem) -> ProblemRow:
    """A problem as it is printed."""
    return _row(view, problem)


def _row(view: View, problem: Problem) -> ProblemRow:
    file, line = problem.file, problem.line
    if file is None:
        origin = view.origin(ObjectRef(problem.cluster or "", problem.kind, problem.namespace, problem.name))
        file, line = (origin.file, origin.line) if origin is not None else (None, None)
    return ProblemRow(
        cluster=problem.cluster,
        kind=problem.kind,
        namespace=problem.namespace,
        name=problem.name,
        reason=problem.reason,
        message=problem.message,
        file=file,
        line=line,
    )


def _subject(problem: Problem) -> tuple[str | None, str, str, str]:
    return problem.cluster, problem.kind, problem.namespace, problem.name


def _told(view: View) -> Iterator[Problem]:
    """What the controllers of clusters that were read say is wrong."""
    for ref, told in view.read.told.items() if view.read is not None else ():
        for part, each in told.bad():
            about = f"{part}: " if part else ""
            message = f"{about}its controller says {each.type}={each.status}: {each.message or each.reason}"
            yield Problem(ref.cluster, ref.kind, ref.namespace, ref.name, each.reason, message)


def _told_already(view: View, problem: Problem) -> bool:
    """Whether the controllers of an object say the same of it, or that all is well: what only Flota would not do is no problem there."""
    if view.read is None:
        return False
    told = view.read.told.get(ObjectRef(problem.cluster or "", problem.kind, problem.namespace, problem.name))
    if told is None or not any(True for _ in told.parts()):
        return False
    reasons = {each.reason for _, each in told.bad()}
    return not reasons or problem.reason in reasons


def _order(row: ProblemRow) -> tuple[str, str, int, str, str, str]:
    return row.cluster or "", row.file or "", row.line or 0, row.kind, row.namespace, row.name


def _of_proxies(view: View) -> Iterator[Problem]:
    for cluster, proxy in sorted(view.proxies.items()):
        if proxy.state == "Failing":
            message = f"the proxy of {cluster} does not stay up: {proxy.reason}"
            yield Problem(cluster, "Proxy", "", cluster, "CrashLoop", message, retry=True)
        yield from _refused(view, cluster, proxy)


def _refused(view: View, cluster: str, proxy: ProxyView) -> Iterator[Problem]:
    plan = view.plan.proxies.get(cluster)
    for name, why in sorted(proxy.refused.items()):
        for kind, namespace, owner in _owners(view, cluster, plan, name, why.message):
            yield Problem(cluster, kind, namespace, owner, "ProxyRefused" if why.reason == "Invalid" else why.reason, why.message)


def _owners(view: View, cluster: str, plan: ProxyPlan | None, name: str, why: str) -> Iterable[tuple[str, str, str]]:
    """The objects that a name of the proxy's plan comes from."""
    if plan is None:
        return [("Proxy", "", cluster)]
    if name in plan.listeners:
        return [("Gateway", *key) for key in plan.listeners[name].gateways] or [("Proxy", "", cluster)]
    if name in plan.backends:
        backend = plan.backends[name]
        return [(backend.kind, backend.namespace, backend.service)]
    if name in plan.secrets:
        # Secrets are named by where they come from: `secret/<namespace>/<name>`, `gateway/<namespace>/<name>/clients/<port>`.
        kind, namespace, owner = name.split("/")[:3]
        return [(_SOURCES[kind], namespace, owner)]
    routes = [
        (ref.kind, ref.namespace, ref.name)
        for ref, status in view.plan.statuses.items()
        if ref.cluster == cluster and isinstance(status, RouteStatus) and name in status.tables
    ]
    # Envoy's message names the route it stumbled over; without a name, all of the table are meant.
    named = [each for each in routes if "/".join(each) in why]
    return named or routes or [("Proxy", "", cluster)]


def _fails(pod: PodView) -> bool:
    return not pod.ready and bool(pod.reason) and (pod.failed or pod.restarts > 0)


def _of_pods(view: View) -> Iterator[Problem]:
    for pod in view.pods:
        if _fails(pod):
            message = f"pod {pod.name} of {pod.owner} is not ready: {pod.reason}; see `flota logs {pod.name}`"
            kind, _, name = pod.owner.partition("/")
            yield Problem(pod.cluster, kind, pod.namespace, name, "PodNotReady", message, retry=not pod.failed)
