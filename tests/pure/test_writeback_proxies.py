"""Proxies as objects."""

from typing import Any

import msgspec
import pytest

from flota.fleet.gateway import Gateway
from flota.fleet.proxytemplate import ProxyTemplateSpec
from flota.plan import Listener
from flota.writeback.names import label_value, object_name, secret_name
from flota.writeback.pods import PodSettings
from flota.writeback.proxies import Wanted, objects, ports

PODS = PodSettings(image="flota:1", ready_port=19001, credentials="/etc/flota/xds", run="/run")


def wanted(template: dict[str, Any] | None = None, served: tuple[tuple[str, int, int], ...] = (("TCP", 80, 10080),), **spec: Any) -> Wanted:
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    document = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"gatewayClassName": "flota", "listeners": listeners, **spec}}
    made = msgspec.convert(document, Gateway)
    return Wanted(made, "uid-1", "us/shop/web", served, msgspec.convert(template or {}, ProxyTemplateSpec), PODS)


def made(given: Wanted) -> dict[str, Any]:
    return {each["kind"]: each for each in objects(given)}


def test_everything_is_named_labelled_and_owned_alike() -> None:
    labels = {"team": "a", "gateway.networking.k8s.io/gateway-name": "hijack"}
    found = made(wanted(infrastructure={"labels": labels, "annotations": {"note": "b"}}))
    assert found.keys() == {"ServiceAccount", "Deployment", "PodDisruptionBudget", "Service"}
    pods = found["Deployment"]["spec"]["template"]
    for meta in (*(each["metadata"] for each in found.values()), pods["metadata"]):
        assert meta["labels"]["team"] == "a"
        assert meta["labels"]["gateway.networking.k8s.io/gateway-name"] == "web"
        assert meta["annotations"]["note"] == "b"
    for each in found.values():
        assert each["metadata"]["name"] == "web-flota"
        assert each["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    selectors = [found["Service"]["spec"]["selector"], found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]]
    for each in (*selectors, found["Deployment"]["spec"]["selector"]["matchLabels"]):
        assert each.items() <= pods["metadata"]["labels"].items()


def test_the_service_leads_each_port_to_its_container_port() -> None:
    service = made(wanted(served=(("TCP", 80, 10080), ("UDP", 53, 10053))))["Service"]["spec"]
    assert [(each["protocol"], each["port"], each["targetPort"]) for each in service["ports"]] == [("TCP", 80, 10080), ("UDP", 53, 10053)]
    assert service["type"] == "LoadBalancer"
    assert "Service" not in made(wanted(served=()))


def test_another_listener_is_no_reason_for_other_pods() -> None:
    assert made(wanted(served=()))["Deployment"] == made(wanted(served=(("TCP", 443, 10443),)))["Deployment"]


def test_addresses_are_asked_of_the_load_balancer() -> None:
    asked = [{"type": "Hostname", "value": "a.org"}, {"value": "192.0.2.7"}, {"value": "192.0.2.8"}]
    assert made(wanted(addresses=asked))["Service"]["spec"]["loadBalancerIP"] == "192.0.2.7"
    assert "loadBalancerIP" not in made(wanted(addresses=[{"type": "IPAddress"}]))["Service"]["spec"]


def test_a_template_says_how_they_run() -> None:
    template = {
        "image": "mine:2", "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}], "podAnnotations": {"p": "q"},
        "resources": {"limits": {"cpu": "1"}}, "service": {"type": "ClusterIP", "annotations": {"c": "d"}},
        "autoscaling": {"maxReplicas": 5},
    }
    found = made(wanted(template))
    deployment = found["Deployment"]["spec"]
    pod = deployment["template"]["spec"]
    assert "replicas" not in deployment, "else it would take back what the autoscaler decides"
    assert found["HorizontalPodAutoscaler"]["spec"]["maxReplicas"] == 5
    assert (pod["nodeSelector"], pod["tolerations"]) == ({"a": "b"}, [{"operator": "Exists"}])
    assert (pod["containers"][0]["image"], pod["containers"][0]["resources"]) == ("mine:2", {"limits": {"cpu": "1"}})
    assert deployment["template"]["metadata"]["annotations"] == {"p": "q"}
    assert (found["Service"]["spec"]["type"], found["Service"]["metadata"]["annotations"]) == ("ClusterIP", {"c": "d"})
    assert made(wanted({"replicas": 0}))["Deployment"]["spec"]["replicas"] == 0


@pytest.mark.parametrize("name", ["web", "1st", "with.dot", "x" * 253, "x" * 60])
def test_names_fit(name: str) -> None:
    found = object_name(name, "flota")
    assert len(found) <= 63
    assert found.isascii()
    assert found[0].isalpha()
    assert "." not in found
    assert len(label_value(name)) <= 63
    assert secret_name(name, "flota").startswith(found)


def test_two_gateways_never_share_a_name() -> None:
    names = ["with.dot", "with-dot", "x" * 100, "x" * 101]
    assert len({object_name(each, "flota") for each in names}) == len(names)
    assert object_name("a-b", "c") != object_name("a", "b-c")


def test_only_sockets_of_own_proxies_are_ports() -> None:
    own = Listener("tcp/shop/web/80", "shop/web", 80, "TCP", (), ("0.0.0.0", 10080))
    assert ports([own, Listener("tcp/127.0.0.1/80", "127.0.0.1", 80, "TCP", ())]) == (("TCP", 80, 10080),)
