"""`flota status` for people."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from flota.cli.output import paint, table
from flota.report.problems import ProblemRow
from flota.report.services import EndpointRow, ServiceRow
from flota.report.status import FleetStatus

_STATE_COLOURS = {
    "Serving": "green",
    "Healthy": "green",
    "Running": "green",
    "yes": "green",
    "Draining": "yellow",
    "Suspect": "yellow",
    "Unknown": "yellow",
    "Starting": "yellow",
    "Lost": "red",
    "Dead": "red",
    "no": "red",
    "Failing": "red",
}


def status_table(status: FleetStatus, wide: bool) -> str:
    """Sections of aligned columns; a section without rows is left out."""
    return "\n\n".join(_sections(status, wide))


def problem_lines(problems: Sequence[ProblemRow]) -> str:
    """One problem a line: where it is, what it is about, why, and how to mend it."""
    return "\n".join(_problem(each) for each in problems)


def place(cluster: str | None, kind: str, namespace: str, name: str) -> str:
    """`us HTTPRoute default/shop`."""
    return " ".join(part for part in (cluster or "", kind, f"{namespace}/{name}" if namespace else name) if part)


def _sections(status: FleetStatus, wide: bool) -> Iterator[str]:
    yield _clusters(status)
    if status.gateways:
        yield _gateways(status)
    if status.listener_sets:
        yield _listener_sets(status)
    if status.routes:
        yield _routes(status)
    if status.services:
        yield _services(status, wide)
    if wide and status.pods:
        yield _pods(status)
    if wide and status.proxies:
        yield _proxies(status)
    if status.drains:
        rows = [(each.target, each.until.isoformat(timespec="seconds"), _left(each.until, status.time)) for each in status.drains]
        yield table(("DRAIN", "UNTIL", "LEFT"), rows)
    if status.waiting:
        yield "\n".join([paint("NOT IN EFFECT YET", "bold"), *(f"  {each.message}" for each in status.waiting)])
    if status.problems:
        yield "\n".join([paint("PROBLEMS", "bold"), problem_lines(status.problems)])
    elif status.running:
        yield "No problems."


def _clusters(status: FleetStatus) -> str:
    rows = [(each.name, each.region, each.zone or "-", each.state or "-", each.reason) for each in status.clusters]
    return table(("CLUSTER", "REGION", "ZONE", "STATE", "WHY"), rows, _colour(3))


def _gateways(status: FleetStatus) -> str:
    rows = [
        (each.cluster, f"{each.namespace}/{each.name}", ",".join(each.addresses) or "-", _yes(each.programmed), each.reason)
        for each in status.gateways
    ]
    return table(("CLUSTER", "GATEWAY", "ADDRESSES", "PROGRAMMED", "REASON"), rows, _colour(3))


def _listener_sets(status: FleetStatus) -> str:
    rows = [
        (each.cluster, f"{each.namespace}/{each.name}", each.gateway or "-", _yes(each.accepted), _yes(each.programmed), each.reason)
        for each in status.listener_sets
    ]
    return table(("CLUSTER", "LISTENERSET", "GATEWAY", "ACCEPTED", "PROGRAMMED", "REASON"), rows, _colour(3, 4))


def _routes(status: FleetStatus) -> str:
    rows = [
        (
            each.cluster,
            f"{each.kind} {each.namespace}/{each.name}",
            _yes(each.accepted),
            _yes(each.resolved_refs),
            _yes(each.programmed),
            each.reason,
        )
        for each in status.routes
    ]
    return table(("CLUSTER", "ROUTE", "ACCEPTED", "RESOLVED", "IN EFFECT", "REASON"), rows, _colour(2, 3, 4))


def _services(status: FleetStatus, wide: bool) -> str:
    if wide:
        rows = [row for each in status.services for row in _endpoints(each)]
        return table(("SEEN FROM", "SERVICE", "ENDPOINT", "IN", "STATE", "CAUSE"), rows, _colour(4))
    short = [(each.cluster, _service(each), _counts(each), _cause(each)) for each in status.services]
    return table(("SEEN FROM", "SERVICE", "ENDPOINTS", "CAUSE"), short)


def _endpoints(service: ServiceRow) -> Iterator[tuple[str, ...]]:
    for each in service.endpoints:
        address = f"[{each.address}]" if ":" in each.address else each.address
        yield service.cluster, _service(service), f"{address}:{each.port}", each.cluster, each.state, each.cause or "-"
    if not service.endpoints:
        yield service.cluster, _service(service), "-", "-", "-", "no endpoints"


def _service(service: ServiceRow) -> str:
    return f"{'ServiceImport' if service.imported else 'Service'} {service.namespace}/{service.name}"


def _counts(service: ServiceRow) -> str:
    """`us: 2 Healthy; eu: 1 Healthy, 1 Dead`."""
    by_cluster: dict[str, Counter[str]] = {}
    for each in service.endpoints:
        by_cluster.setdefault(each.cluster, Counter())[each.state] += 1
    return (
        "; ".join(
            f"{cluster}: {', '.join(f'{number} {state}' for state, number in sorted(states.items()))}"
            for cluster, states in by_cluster.items()
        )
        or "none"
    )


def _cause(service: ServiceRow) -> str:
    bad: list[EndpointRow] = [each for each in service.endpoints if each.cause]
    return bad[0].cause + (f" (and {len(bad) - 1} more)" if len(bad) > 1 else "") if bad else "-"


def _pods(status: FleetStatus) -> str:
    rows = [
        (
            each.cluster,
            f"{each.namespace}/{each.name}",
            each.address or "-",
            each.phase,
            _yes(each.ready),
            str(each.restarts),
            each.reason or "-",
        )
        for each in status.pods
    ]
    return table(("CLUSTER", "POD", "ADDRESS", "PHASE", "READY", "RESTARTS", "REASON"), rows, _colour(4))


def _proxies(status: FleetStatus) -> str:
    rows = [(each.cluster, each.state, str(each.pid or "-"), _yes(each.connected), each.reason or "-") for each in status.proxies]
    return table(("PROXY OF", "STATE", "PID", "CONNECTED", "REASON"), rows, _colour(1, 3))


def _problem(row: ProblemRow) -> str:
    where = f"{row.file}:{row.line}: " if row.file and row.line else f"{row.file}: " if row.file else ""
    return f"{where}{place(row.cluster, row.kind, row.namespace, row.name)}: {paint(row.reason, 'red')}: {row.message}"


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _left(until: datetime, now: datetime) -> str:
    seconds = max(0, round((until - now).total_seconds()))
    return f"{seconds // 60}m{seconds % 60:02d}s"


def _colour(*columns: int) -> Callable[[int, str], str | None]:
    return lambda column, text: _STATE_COLOURS.get(text) if column in columns else None
