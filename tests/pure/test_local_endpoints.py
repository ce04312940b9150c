"""EndpointSlices from pods, as tables."""

from typing import Any

import msgspec

from flota.fleet.core import EndpointSlice, Service
from flota.fleet.fleet import Cluster
from flota.fleet.pods import ContainerPort
from flota.local.endpoints import endpoint_slices
from flota.local.podstate import PodState


def service(name: str = "web", **spec: Any) -> Service:
    base = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "main"}]}
    return msgspec.convert({"metadata": {"name": name}, "spec": base | spec}, Service)


def cluster(*services: Service) -> Cluster:
    return Cluster("us", "us-east", "us-east-1a", services={("default", found.metadata.name): found for found in services})


def pod(number: int = 1, port: int = 8080, **more: Any) -> PodState:
    ports = (ContainerPort(container_port=port, name="main"),)
    found = PodState(
        "us",
        "default",
        f"web-{number}",
        ("Deployment", "web"),
        {"app": "web", "x": "y"},
        f"127.1.1.{number}",
        "Running",
        ready=True,
        ports=ports,
    )
    return msgspec.structs.replace(found, **more)


def made(*pods: PodState, **spec: Any) -> list[EndpointSlice]:
    return list(endpoint_slices(cluster(service(**spec)), pods).values())


def test_a_named_port_is_found_and_the_slice_belongs_to_its_service() -> None:
    (found,) = made(pod(1), pod(2))
    assert found.service == "web"
    assert [(port.name, port.port) for port in found.ports] == [("http", 8080)]
    assert [endpoint.addresses for endpoint in found.endpoints] == [("127.1.1.1",), ("127.1.1.2",)]
    assert {endpoint.zone for endpoint in found.endpoints} == {"us-east-1a"}
    assert found.endpoints[0].target_ref is not None
    assert found.endpoints[0].target_ref.name == "web-1"


def test_ports_by_number_by_default_and_by_text() -> None:
    for target, port in ((9000, 9000), ("9001", 9001), (None, 80)):
        spec = {"name": "http", "port": 80} | ({"targetPort": target} if target is not None else {})
        (found,) = made(pod(), ports=[spec])
        assert found.ports[0].port == port


def test_pods_that_name_a_port_differently_get_slices_of_their_own() -> None:
    slices = made(pod(1, 8080), pod(2, 8081))
    assert sorted((s.ports[0].port, s.endpoints[0].addresses) for s in slices) == [(8080, ("127.1.1.1",)), (8081, ("127.1.1.2",))]
    assert len({s.metadata.name for s in slices}) == 2


def test_conditions_say_ready_serving_terminating() -> None:
    table = {
        (True, False, False): (True, True, False),
        (False, False, False): (False, False, False),
        (True, True, False): (False, True, True),
        (False, True, False): (False, False, True),
        (False, False, True): (True, False, False),
    }
    for (ready, terminating, publish), expected in table.items():
        (found,) = made(pod(ready=ready, terminating=terminating), publishNotReadyAddresses=publish)
        conditions = found.endpoints[0].conditions
        assert (conditions.ready, conditions.serving, conditions.terminating) == expected


def test_who_is_left_out() -> None:
    strangers = [
        pod(cluster="eu"),
        pod(namespace="other"),
        pod(labels={"app": "else"}),
        pod(ip=""),
        pod(phase="Succeeded"),
        pod(phase="Failed"),
        pod(ports=()),
    ]
    assert made(*strangers) == []
    assert made(pod(), selector={}) == []
    assert made(pod(), type="ExternalName", externalName="x.example") == []


def test_what_has_not_changed_is_the_same_object() -> None:
    one, two = service("one"), service("two", selector={"x": "y", "app": "none"})
    first = endpoint_slices(cluster(one, two), (pod(1), pod(2)))
    assert endpoint_slices(cluster(one, two), (pod(2), pod(1)), first) is first
    other = service("other")
    more = endpoint_slices(cluster(one, other), (pod(1), pod(2)), first)
    assert more is not first
    assert all(more[key] is first[key] for key in first)
    fewer = endpoint_slices(cluster(), (), first)
    assert fewer == {}
