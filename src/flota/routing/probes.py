"""Active health checks: how often, and of what."""

from collections.abc import Iterable
from math import ceil

from flota.fleet.core import Service, ServicePort
from flota.fleet.meta import Key
from flota.fleet.pods import Container, Deployment, Pod, Probe
from flota.fleet.policy import TrafficHealthCheck
from flota.fleet.values import milliseconds
from flota.plan.backends import HealthCheck
from flota.routing.member import Member

CHECKED_EVERY_MS = ((300, 250), (1_000, 1_000), (3_000, 5_000))
"""(endpoints up to, interval). Checks cost a proxy work for each endpoint and interval; beyond the last line only
passive ejection watches, unless a policy names an interval."""
CONNECT_MS = 200
"""How long a check that only connects waits."""
ANSWER_MS = 1_000
"""How long a check that wants an answer waits: an honestly slow one must not count as a failure."""


def interval_ms(load: int) -> int | None:
    """How often each endpoint is checked when the proxy has `load` of them in all; None = not at all."""
    return next((interval for limit, interval in CHECKED_EVERY_MS if load <= limit), None)


def choose(
    interval: int | None, round_trip_ms: float, declared: TrafficHealthCheck | None, probes: Iterable[HealthCheck]
) -> HealthCheck | None:
    """The check of a backend: what its policy declares, else what all its pods are probed with, else a connection.

    `round_trip_ms`: to the farthest endpoint; a check there may take three of them.
    """
    patience = ceil(3 * round_trip_ms)
    if declared is not None:
        return _declared(declared, interval, patience)
    if interval is None:
        return None
    kinds = set(probes)
    if len(kinds) == 1:
        probe = kinds.pop()
        return HealthCheck(interval, max(probe.timeout_ms, patience), probe.path, probe.host, probe.port, probe.scheme)
    return HealthCheck(interval, max(CONNECT_MS, patience))


def _declared(check: TrafficHealthCheck, interval: int | None, patience: int) -> HealthCheck | None:
    every = interval if check.interval is None else milliseconds(check.interval)
    if every is None:
        return None
    default = max(ANSWER_MS if check.path else CONNECT_MS, patience)
    timeout = default if check.timeout is None else milliseconds(check.timeout)
    return HealthCheck(max(1, every), max(1, timeout), check.path, check.host, check.port)


def readiness(member: Member, key: Key, port: ServicePort) -> HealthCheck | None:
    """How the pods behind a Service port are asked whether they are ready, as far as a proxy can ask the same.

    httpGet and tcpSocket probes that all matching pods share; None otherwise. The interval is left 0.
    """
    service = member.cluster.services[key]
    if not service.spec.selector:
        return None
    found = {_of_workload(each, port) for each in member.workloads.get(key[0]) if _behind(service, each)}
    return found.pop() if len(found) == 1 else None


def _behind(service: Service, workload: Deployment | Pod) -> bool:
    meta = workload.metadata if isinstance(workload, Pod) else workload.spec.template.metadata
    return all(meta.labels.get(name) == value for name, value in service.spec.selector.items())


def _of_workload(workload: Deployment | Pod, port: ServicePort) -> HealthCheck | None:
    containers = (workload if isinstance(workload, Pod) else workload.spec.template).spec.containers
    container = next((each for each in containers if _listens(each, port)), None) or (containers[0] if containers else None)
    if container is None or container.readiness_probe is None:
        return None
    return _of_probe(container.readiness_probe, container, port)


def _of_probe(probe: Probe, container: Container, port: ServicePort) -> HealthCheck | None:
    action = probe.http_get or probe.tcp_socket
    if action is None or (action.host and probe.http_get is None):
        return None
    number = _port_number(action.port, container)
    if number is None:
        return None
    checked = None if number == _port_number(port.port if port.target_port is None else port.target_port, container) else number
    if probe.http_get is None:
        return HealthCheck(0, CONNECT_MS, port=checked)
    get = probe.http_get
    host = next((each.value for each in get.http_headers if each.name.lower() == "host"), None)
    path = get.path if get.path.startswith("/") else f"/{get.path}"
    return HealthCheck(0, max(ANSWER_MS, 1_000 * probe.timeout_seconds), path, host, checked, get.scheme)


def _listens(container: Container, port: ServicePort) -> bool:
    target = port.port if port.target_port is None else port.target_port
    return any(target in (each.container_port, each.name) for each in container.ports)


def _port_number(port: int | str, container: Container) -> int | None:
    if isinstance(port, int):
        return port
    return next((each.container_port for each in container.ports if each.name == port), None)
