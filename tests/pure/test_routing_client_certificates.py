"""Certificates of clients (Gateway spec.tls.frontend) and the one that a Gateway shows to backends (spec.tls.backend)."""

from typing import Any

import pytest
import yaml
from routing_fleets import all_of, condition, plan_of, service, status_of, tls_secret

from flota.plan import ClientCheck, Plan

SERVER, CLIENT = tls_secret("server", "a.org"), tls_secret("client", "gateway")
ROOTS = CLIENT["data"]["tls.crt"].decode()


def roots(name: str, text: str = ROOTS, namespace: str = "default") -> dict[str, Any]:
    """A ConfigMap with CA certificates."""
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {"ca.crt": text}}


def check(*refs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A validation by these references."""
    return {"validation": {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", **each} for each in refs], **more}}


def https(port: int, protocol: str = "HTTPS") -> dict[str, Any]:
    """A listener that ends TLS, named by its port."""
    tls = {"mode": "Terminate", "certificateRefs": [{"name": "server"}]}
    return {"name": f"at-{port}", "port": port, "protocol": protocol, "tls": tls}


def planned(frontend: dict[str, Any] | None = None, *more: dict[str, Any], backend: dict[str, Any] | None = None) -> Plan:
    """A Gateway that listens on 443 and 8443 (HTTPS), 8883 (TLS) and 80, with these fields of spec.tls."""
    tls = {**({"frontend": frontend} if frontend else {}), **({"backend": {"clientCertificateRef": backend}} if backend else {})}
    listeners = [https(443), https(8443), https(8883, "TLS"), {"name": "at-80", "port": 80, "protocol": "HTTP"}]
    spec = {"gatewayClassName": "flota", "addresses": [{"value": "127.0.0.10"}], "tls": tls, "listeners": listeners}
    gateway = {"kind": "Gateway", "metadata": {"name": "gw"}, "spec": spec}
    return plan_of(more=[gateway, SERVER, CLIENT, *more])


def said(plan: Plan, kind: str) -> dict[int, tuple[str, str]]:
    """A condition of every listener, by port."""
    return {int(each.name[3:]): condition(each, kind) for each in status_of(plan, "Gateway", "gw").listeners}


def checks(plan: Plan) -> dict[int, ClientCheck | None]:
    """What each port that ends TLS asks of its clients."""
    return {each.port: one.tls.clients for each in plan.proxies["us"].listeners.values() for one in each.chains if one.tls}


def test_the_default_holds_for_all_ports_but_those_with_an_entry_of_their_own() -> None:
    ports = [{"port": 8443, "tls": check({"name": "b"}, mode="AllowInsecureFallback")}, {"port": 8883, "tls": {}}]
    plan = planned({"default": check({"name": "a"}), "perPort": ports}, roots("a"), roots("b"))
    name = "gateway/default/gw/clients/{}"
    assert checks(plan) == {443: ClientCheck(name.format(443)), 8443: ClientCheck(name.format(8443), required=False), 8883: None}
    assert plan.proxies["us"].secrets[name.format(443)].roots == ROOTS.encode()
    status = status_of(plan, "Gateway", "gw")
    assert condition(status, "InsecureFrontendValidationMode") == ("True", "ConfigurationChanged")
    assert plan.problems == ()


def test_without_a_fallback_nothing_is_said_of_one() -> None:
    kinds = [each.type for each in status_of(planned({"default": check({"name": "a"})}, roots("a")), "Gateway", "gw").conditions]
    assert "InsecureFrontendValidationMode" not in kinds


GRANT = """
kind: ReferenceGrant
metadata: {name: g, namespace: far}
spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}], to: [{group: "", kind: ConfigMap}]}
"""


@pytest.mark.parametrize(
    ("refs", "reason"),
    [
        ([{"name": "none"}], "InvalidCACertificateRef"),
        ([{"name": "rubbish"}], "InvalidCACertificateRef"),
        ([{"kind": "Service", "name": "a"}], "InvalidCACertificateKind"),
        ([{"group": "x.io", "name": "a"}], "InvalidCACertificateKind"),
        ([{"name": "secret", "namespace": "far"}], "RefNotPermitted"),
    ],
)
def test_a_port_without_a_good_root_lets_nobody_in(refs: list[dict[str, Any]], reason: str) -> None:
    ports = [{"port": 8443, "tls": check(*refs)}]
    plan = planned({"default": check({"name": "a"}), "perPort": ports}, roots("a"), roots("rubbish", "x"), roots("secret", namespace="far"))
    assert said(plan, "ResolvedRefs")[8443] == ("False", reason)
    assert said(plan, "Accepted")[8443] == ("False", "NoValidCACertificate")
    assert said(plan, "Programmed")[8443] == ("False", "Invalid")
    assert {said(plan, each)[443][0] for each in ("ResolvedRefs", "Accepted", "Programmed")} == {"True"}
    assert "tcp/127.0.0.10/8443" not in plan.proxies["us"].listeners
    assert condition(status_of(plan, "Gateway", "gw"), "ResolvedRefs") == ("False", "ListenersNotResolved")


def test_a_port_without_tls_is_not_touched() -> None:
    plan = planned({"default": check({"name": "none"})})
    refused = {port for port, (status, _) in said(plan, "Accepted").items() if status == "False"}
    assert refused == {443, 8443, 8883}
    assert said(plan, "ResolvedRefs")[80] == ("True", "ResolvedRefs")


def test_one_good_root_of_two_is_enough_and_the_other_is_told() -> None:
    plan = planned({"default": check({"name": "none"}, {"name": "a"})}, roots("a"))
    assert said(plan, "ResolvedRefs")[443] == ("False", "InvalidCACertificateRef")
    assert said(plan, "Accepted")[443] == ("True", "Accepted")
    assert checks(plan)[443] == ClientCheck("gateway/default/gw/clients/443")


def test_roots_of_another_namespace_need_a_grant() -> None:
    far = roots("far", namespace="far")
    plan = planned({"default": check({"name": "far", "namespace": "far"})}, far, yaml.safe_load(GRANT))
    assert said(plan, "ResolvedRefs")[443] == ("True", "ResolvedRefs")


BACKEND = """
kind: BackendTLSPolicy
metadata: {name: safe}
spec:
  targetRefs: [{group: "", kind: Service, name: safe}]
  validation: {hostname: safe.org, wellKnownCACertificates: System}
---
kind: HTTPRoute
metadata: {name: r}
spec: {parentRefs: [{name: gw}, {name: other}], rules: [{backendRefs: [{name: safe, port: 8080}, {name: plain, port: 8080}]}]}
---
kind: Gateway
metadata: {name: other}
spec: {gatewayClassName: flota, addresses: [{value: 127.0.0.11}], listeners: [{name: http, port: 80, protocol: HTTP}]}
"""


def backends(*more: dict[str, Any]) -> list[dict[str, Any]]:
    """A Service with TLS, one without, and a route to both of two Gateways."""
    return [*yaml.safe_load_all(all_of(BACKEND, service("safe"), service("plain"))), *more]


def test_backends_that_speak_tls_are_shown_the_certificate_of_the_gateway_that_the_request_came_to() -> None:
    plan = planned(None, *backends(), backend={"name": "client"})
    proxy = plan.proxies["us"]
    shown = {name: each.tls.certificate for name, each in proxy.backends.items() if each.tls}
    assert sorted(map(str, shown.values())) == ["None", "secret/default/client"], "an Envoy cluster for each Gateway"
    assert len(proxy.backends) == 3, "what speaks no TLS is shared"
    assert proxy.secrets["secret/default/client"].key == CLIENT["data"]["tls.key"]
    for table, certificate in (("http/127.0.0.10/80", "secret/default/client"), ("http/127.0.0.11/80", None)):
        entry: Any = proxy.tables[table].hosts["*"].entries[0]
        assert [shown[each.backend] for each in entry.action.backends if each.backend in shown] == [certificate]
    assert plan.problems == ()


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ({"name": "none"}, "InvalidClientCertificateRef"),
        ({"name": "client", "group": "x.io"}, "InvalidClientCertificateRef"),
        ({"name": "client", "kind": "Service"}, "InvalidClientCertificateRef"),
        ({"name": "empty"}, "InvalidClientCertificateRef"),
        ({"name": "client", "namespace": "far"}, "RefNotPermitted"),
    ],
)
def test_a_certificate_for_backends_that_cannot_be_used(ref: dict[str, Any], reason: str) -> None:
    empty = {"kind": "Secret", "metadata": {"name": "empty"}, "type": "Opaque", "data": {}}
    plan = planned(None, *backends(empty), backend=ref)
    status = status_of(plan, "Gateway", "gw")
    assert condition(status, "ResolvedRefs") == ("False", reason)
    assert condition(status, "Accepted") == ("True", "Accepted")
    assert {each.tls.certificate for each in plan.proxies["us"].backends.values() if each.tls} == {None}
