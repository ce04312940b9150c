"""Objects → the fleet: namespaces, the class, imports from exports, and that the unchanged stays the identical."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from flota.fleet.core import EndpointSlice, Service, ServicePort, ServiceSpec
from flota.fleet.drain import Drain
from flota.fleet.fleet import Cluster, Fleet
from flota.fleet.mcs import ServiceExport, ServiceExportSpec, ServiceImport, ServiceImportPort, ServiceImportSpec
from flota.fleet.meta import Key, ObjectMeta
from flota.fleet.policy import ClusterSet
from flota.sources.assemble import Assembler, Given
from flota.sources.layout import Layout, Member, layout_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAYOUT = Layout("shop", (Member("us", "us-east", "a", "us"), Member("eu", "eu-west", None, "eu")), {("us-east", "eu-west"): 80.0})
NOTHING = Given()


def meta(name: str = "shop", namespace: str = "web", age: int = 0) -> ObjectMeta:
    return ObjectMeta(name=name, namespace=namespace, creation_timestamp=NOW + timedelta(seconds=age), generation=1)


def service(*ports: ServicePort, name: str = "shop", **spec: object) -> Service:
    return Service(metadata=meta(name), spec=ServiceSpec(ports=ports or (ServicePort(port=80),), **spec))  # type: ignore[arg-type]


def export(age: int = 0, name: str = "shop", **spec: dict[str, str]) -> ServiceExport:
    return ServiceExport(metadata=meta(name, age=age), spec=ServiceExportSpec(**spec))


class World:
    """Objects per (cluster, collection), assembled on demand; a mapping is replaced when it changes, as the table does."""

    def __init__(self) -> None:
        self.maps: dict[tuple[str, str], dict[Key, msgspec.Struct]] = {}
        self.assembler = Assembler()
        self.problems: tuple[object, ...] = ()

    def set(self, cluster: str, collection: str, *objects: msgspec.Struct) -> None:
        self.maps[cluster, collection] = {(o.metadata.namespace, o.metadata.name): o for o in objects}  # type: ignore[attr-defined]

    def _declared(self, cluster: str, collection: str) -> Mapping[Key, msgspec.Struct]:
        return self.maps.setdefault((cluster, collection), {})

    def fleet(self, given: Given = NOTHING, layout: Layout = LAYOUT) -> Fleet:
        fleet, problems = self.assembler.assemble(layout, self._declared, given)
        self.problems = tuple((p.cluster, p.reason) for p in problems)
        return fleet

    def imported(self, cluster: str = "eu") -> ServiceImport | None:
        return self.fleet().clusters[cluster].service_imports.get(("web", "shop"))


@pytest.fixture
def world() -> World:
    """Both clusters export the service `web/shop`; the export of us is the older one."""
    world = World()
    for age, cluster in enumerate(("us", "eu")):
        world.set(cluster, "services", service())
        world.set(cluster, "service_exports", export(age))
    return world


def test_every_cluster_has_the_class_and_the_namespaces_that_objects_name() -> None:
    world = World()
    world.set("us", "services", service())
    fleet = world.fleet()
    assert set(fleet.clusters["us"].namespaces) == {("", "default"), ("", "web")}
    assert set(fleet.clusters["eu"].namespaces) == {("", "default")}
    assert fleet.clusters["us"].namespaces["", "web"].metadata.labels == {"kubernetes.io/metadata.name": "web"}
    assert fleet.clusters["us"].gateway_classes["", "flota"].spec.controller_name == "flota.dev/gateway-controller"
    assert (fleet.clusters["us"].region, fleet.clusters["us"].zone) == ("us-east", "a")


def test_an_export_makes_the_import_in_every_cluster_that_has_the_namespace() -> None:
    world = World()
    world.set("us", "services", service(ServicePort(port=80, name="http", app_protocol="kubernetes.io/h2c")))
    world.set("us", "service_exports", export())
    us = world.imported("us")
    assert us is not None
    assert us.spec.ports == (ServiceImportPort(port=80, name="http", app_protocol="kubernetes.io/h2c"),)
    assert (us.spec.type, us.metadata.creation_timestamp) == ("ClusterSetIP", NOW)
    assert world.imported("eu") is None
    world.set("eu", "services", service(name="other"))
    assert world.imported("eu") is us


def test_an_import_lives_only_while_exported(world: World) -> None:
    before = world.imported()
    world.set("us", "service_exports")
    assert world.imported() == msgspec.structs.replace(before, metadata=meta(age=1))
    world.set("eu", "service_exports")
    assert world.imported() is None


@pytest.mark.parametrize(
    ("services", "reason"), [((), "NoService"), ((service(type="ExternalName", external_name="x.example"),), "InvalidServiceType")]
)
def test_what_cannot_be_exported_is_told(services: tuple[Service, ...], reason: str) -> None:
    world = World()
    world.set("us", "services", *services)
    world.set("us", "service_exports", export())
    assert world.imported("us") is None
    assert world.problems == (("us", reason),)
    world.set("us", "services", service())
    assert world.imported("us") is not None
    assert world.problems == ()


HTTP, ADMIN = ServicePort(port=80, name="http"), ServicePort(port=90, name="admin")


@pytest.mark.parametrize(
    ("older", "younger", "ports"),
    [
        ((HTTP,), (HTTP, ADMIN), [("http", 80), ("admin", 90)]),
        ((HTTP,), (ServicePort(port=81, name="http"),), [("http", 80)]),
        ((HTTP,), (ServicePort(port=80, name="web"),), [("http", 80)]),
        ((HTTP,), (ServicePort(port=80, name="dns", protocol="UDP"),), [("http", 80), ("dns", 80)]),
    ],
)
def test_ports_are_united_and_the_older_export_decides(
    older: tuple[ServicePort, ...], younger: tuple[ServicePort, ...], ports: list[tuple[str, int]]
) -> None:
    world = World()
    world.set("us", "services", service(*younger))
    world.set("us", "service_exports", export(5))
    world.set("eu", "services", service(*older))
    world.set("eu", "service_exports", export(1))
    imported = world.imported("us")
    assert imported is not None
    assert [(port.name, port.port) for port in imported.spec.ports] == ports
    assert world.problems == (("eu", "PortConflict"), ("us", "PortConflict"))


def test_the_oldest_export_decides_the_rest_and_all_exports_are_told(world: World) -> None:
    world.set("us", "services", service(session_affinity="ClientIP", cluster_ip="None"))
    world.set("us", "service_exports", export(0, exported_labels={"a": "b"}))
    imported = world.imported()
    assert imported is not None
    assert (imported.spec.type, imported.spec.session_affinity, imported.metadata.labels) == ("Headless", "ClientIP", {"a": "b"})
    reasons = {"TypeConflict", "SessionAffinityConflict", "LabelsConflict"}
    assert set(world.problems) == {(cluster, reason) for cluster in ("us", "eu") for reason in reasons}


def test_an_import_that_a_file_declares_stays_in_its_cluster(world: World) -> None:
    declared = ServiceImport(metadata=meta(), spec=ServiceImportSpec(type="ClusterSetIP", ports=(ServiceImportPort(port=1),)))
    world.set("eu", "service_imports", declared)
    assert world.imported("eu") is declared
    assert world.imported("us") is not declared


def changed_fields(old: Cluster, new: Cluster) -> set[str]:
    return {name for name in Cluster.__struct_fields__ if getattr(old, name) is not getattr(new, name)}


def test_what_did_not_change_stays_the_identical_object(world: World) -> None:
    given = Given()
    before = world.fleet(given)
    assert world.fleet(given) is before
    world.set("us", "http_routes")
    after = world.fleet(given)
    assert after.clusters["eu"] is before.clusters["eu"]
    assert changed_fields(before.clusters["us"], after.clusters["us"]) == {"http_routes"}
    world.set("us", "services", service(name="unrelated"), world.maps["us", "services"]["web", "shop"])
    last = world.fleet(given)
    assert changed_fields(after.clusters["us"], last.clusters["us"]) == {"services"}
    assert last.clusters["eu"] is before.clusters["eu"]


def test_an_equal_import_stays_the_identical_one(world: World) -> None:
    before = world.imported()
    world.set("us", "services", service(selector={"a": "b"}))
    assert world.imported() is before


def test_slices_of_pods_join_those_of_files_which_go_first() -> None:
    world = World()
    declared = EndpointSlice(metadata=meta("a"), address_type="IPv4")
    world.set("us", "endpoint_slices", declared)
    made = {("web", name): EndpointSlice(metadata=meta(name), address_type="IPv6") for name in ("a", "b")}
    given = Given(slices={"us": made})
    slices = world.fleet(given).clusters["us"].endpoint_slices
    assert slices == {("web", "a"): declared, ("web", "b"): made["web", "b"]}
    assert world.fleet(given).clusters["us"].endpoint_slices is slices


def test_drains_and_policies_are_part_of_the_fleet() -> None:
    drains = (Drain("us", NOW),)
    fleet = World().fleet(Given(drains=drains))
    assert fleet.drains is drains
    assert fleet.distances["us-east", "eu-west"] == 80.0


def cluster_set(*clusters: dict[str, str]) -> ClusterSet:
    document = {"metadata": {"name": "s"}, "spec": {"clusters": list(clusters), "distances": [{"between": ["a", "b"], "rtt": 5}]}}
    return msgspec.convert(document, ClusterSet)


@pytest.mark.parametrize(
    ("manifests", "folder"),
    [("us", "us"), ("./a//b/", "a/b"), ("..", None), ("a/../..", None), ("/etc", None), (".", None), (".flota", None), ("a/.b", None)],
)
def test_manifests_lie_below_the_folder(manifests: str, folder: str | None) -> None:
    layout = layout_of(cluster_set({"name": "us", "region": "r", "manifests": manifests}))
    assert layout.members[0].folder == folder
    assert [problem.reason for _, problem in layout.faults] == ([] if folder else ["InvalidManifests"])


def test_layout() -> None:
    us, again, inner = ({"name": "us", "region": "a"}, {"name": "us", "region": "b"}, {"name": "x", "region": "b", "manifests": "us/x"})
    layout = layout_of(cluster_set(us, again, inner))
    assert [(m.name, m.region) for m in layout.members] == [("us", "a"), ("x", "b")]
    assert [(path, problem.reason) for path, problem in layout.faults] == [(("spec", "clusters", 1, "name"), "DuplicateCluster")]
    assert layout.folders() == ("us",)
    assert layout.clusters_of("us/x/a.yaml") == ("us", "x")
    assert layout.clusters_of("usa/a.yaml") == ()
    assert layout.distances == {("a", "b"): 5, ("b", "a"): 5}
    assert layout_of(None).faults[0][1].reason == "NoClusterSet"
