"""Whether the proxy has what was planned for it: from "planned" to "in effect"."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from flota.plan import GatewayStatus, ProxyPlan, RouteStatus
from flota.report.view import View


class Delivery(NamedTuple):
    """`reason` is a condition reason, `message` a sentence."""

    state: Literal["Acknowledged", "Pending", "Refused", "Unknown"]
    reason: str = ""
    message: str = ""


ACKNOWLEDGED = Delivery("Acknowledged", "Programmed", "the proxy has acknowledged it")


def delivery(view: View, cluster: str, names: Iterable[str]) -> Delivery:
    """Whether the proxy of `cluster` has the newest content of these names of its `ProxyPlan`."""
    if view.running is None:
        return Delivery("Unknown", "NotRunning", "Flota does not run here; start it with `flota up`")
    proxy = view.proxies.get(cluster)
    if proxy is None or proxy.state == "Starting":
        return Delivery("Pending", "Pending", f"the proxy of {cluster} is starting")
    if proxy.state != "Running":
        return Delivery("Pending", "Pending", f"the proxy of {cluster} does not run: {proxy.reason or proxy.state}")
    wanted = set(names)
    for name in sorted(wanted & proxy.refused.keys()):
        return Delivery("Refused", "Invalid", f"the proxy refused {name}: {proxy.refused[name]}")
    if not proxy.connected:
        return Delivery("Pending", "Pending", f"the proxy of {cluster} is not connected to Flota; it serves what it had")
    missing = sorted(wanted & proxy.pending)
    if missing:
        return Delivery("Pending", "Pending", f"the proxy of {cluster} has not acknowledged {missing[0]} yet")
    return ACKNOWLEDGED


def gateway_delivery(view: View, cluster: str, status: GatewayStatus) -> Delivery:
    """A Gateway is programmed when its sockets are. Tables come before the sockets that use them (make before break), and a route that
    changes later does not make its Gateway less programmed."""
    return delivery(view, cluster, [each.socket for each in status.listeners if each.socket is not None])


def route_delivery(view: View, cluster: str, status: RouteStatus) -> Delivery:
    """A route is in effect when all tables and listeners that carry it are, with the backends behind them."""
    return delivery(view, cluster, status.tables)


def everything(proxy: ProxyPlan) -> set[str]:
    """All names of a proxy's plan that it must acknowledge."""
    return {*proxy.listeners, *proxy.tables, *proxy.backends, *proxy.secrets}
