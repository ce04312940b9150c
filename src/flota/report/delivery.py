"""Whether the proxy has what was planned for it: from "planned" to "in effect"."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from flota.plan import GatewayStatus, ListenerSetStatus, ProxyPlan, RouteStatus
from flota.report.view import Refused, View


class Delivery(NamedTuple):
    """`reason` is a condition reason, `message` a sentence."""

    state: Literal["Acknowledged", "Pending", "Refused", "Unknown"]
    reason: str = ""
    message: str = ""


_ENDS = {"Stopping": "finishes its requests", "Stopped": "has ended"}
ACKNOWLEDGED = Delivery("Acknowledged", "Programmed", "the proxy has acknowledged it")


def delivery(view: View, cluster: str, names: Iterable[str]) -> Delivery:
    """Whether the proxy of `cluster` has the newest content of these names of its `ProxyPlan`."""
    if view.running is None:
        return Delivery("Unknown", "NotRunning", "Flota does not run here; start it with `flota up`")
    proxy = view.proxies.get(cluster)
    if proxy is None or proxy.state == "Starting":
        return Delivery("Pending", "Pending", f"the proxy of {cluster} is starting")
    if proxy.state in ("Stopping", "Stopped"):
        return Delivery("Pending", "Pending", f"Flota is stopping: the proxy of {cluster} {_ENDS[proxy.state]}")
    if proxy.state != "Running":
        return Delivery("Pending", "Pending", f"the proxy of {cluster} does not run: {proxy.reason or proxy.state}")
    wanted = set(names)
    refused = refused_parts(view, cluster)
    for name in sorted(wanted & refused.keys()):
        return Delivery("Refused", *refused[name])
    if not proxy.connected:
        return Delivery("Pending", "Pending", f"the proxy of {cluster} is not connected to Flota; it serves what it had")
    missing = sorted(wanted & proxy.pending)
    if missing:
        return Delivery("Pending", "Pending", f"the proxy of {cluster} has not acknowledged {missing[0]} yet")
    return ACKNOWLEDGED


def refused_parts(view: View, cluster: str) -> Mapping[str, Refused]:
    """Names of the proxy's plan that cannot be in effect: what it refused, and tables that only refused listeners lead to."""
    proxy, plan = view.proxies.get(cluster), view.plan.proxies.get(cluster)
    if proxy is None or plan is None or not proxy.refused:
        return {}
    uses = [(name, chain.table) for name, listener in plan.listeners.items() for chain in listener.chains if chain.table is not None]
    served = {table for name, table in uses if name not in proxy.refused}
    shut = {table: proxy.refused[name] for name, table in uses if name in proxy.refused and table not in served}
    return {**shut, **proxy.refused}


def gateway_delivery(view: View, cluster: str, status: GatewayStatus | ListenerSetStatus) -> Delivery:
    """A Gateway is programmed when its sockets are. Tables come before the sockets that use them (make before break), and a route that
    changes later does not make its Gateway less programmed."""
    return delivery(view, cluster, [each.socket for each in status.listeners if each.socket is not None])


def route_delivery(view: View, cluster: str, status: RouteStatus) -> Delivery:
    """A route is in effect when all tables and listeners that carry it are, with the backends behind them."""
    return delivery(view, cluster, status.tables)


def everything(proxy: ProxyPlan) -> set[str]:
    """All names of a proxy's plan that it must acknowledge."""
    return {*proxy.listeners, *proxy.tables, *proxy.backends, *proxy.secrets}
