"""The pure parts of a node: environment, volumes, status, choice of a node, the chain that starts a container."""

import base64
from pathlib import Path

import pytest

from rig.api import Object
from rig.node.environment import Host, MissingError, command, environment, field, quantity
from rig.node.images import image, repository
from rig.node.launch import Launch, Mount, argv, privileges, script
from rig.node.scheduling import choose
from rig.node.status import ContainerState, PodFacts, phase, status
from rig.node.volumes import Content, Context, content, mounts, write

HOST = Host("node", "10.255.0.1", ("10.96.0.1", 443))
POD: Object = {
    "metadata": {"name": "web-1", "namespace": "shop", "uid": "u", "labels": {"app": "web"}, "generation": 3},
    "spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "node"},
}
HELD: dict[tuple[str, str], Object] = {
    ("ConfigMap", "c"): {"kind": "ConfigMap", "data": {"a": "1", "b": "2"}, "binaryData": {"raw": base64.b64encode(b"\0").decode()}},
    ("Secret", "s"): {"kind": "Secret", "data": {"key": base64.b64encode(b"secret").decode()}},
}


def fetch(kind: str, name: str) -> Object | None:
    return HELD.get((kind, name))


def test_the_environment_is_the_image_s_the_cluster_s_and_then_the_container_s_own():
    container: Object = {
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}, {"secretRef": {"name": "gone", "optional": True}}],
        "env": [
            {"name": "A", "value": "x"},
            {"name": "B", "value": "$(A)-$$(A)-$(NONE)"},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
            {"name": "NOT", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "z", "optional": True}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        ],
        "resources": {"limits": {"cpu": "250m"}},
    }
    found = environment(POD, container, "10.160.0.1", HOST, {"PATH": "/bin", "A": "image"}, fetch)
    assert {name: found[name] for name in ("A", "B", "IP", "KEY", "CPU", "P_a", "PATH", "HOSTNAME")} == {
        "A": "x", "B": "x-$(A)-$(NONE)", "IP": "10.160.0.1", "KEY": "secret", "CPU": "250", "P_a": "1", "PATH": "/bin", "HOSTNAME": "web-1",
    }  # fmt: skip
    assert "NOT" not in found
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"


def test_what_is_missing_is_named():
    wanted = {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "other"}}}]}
    with pytest.raises(MissingError, match="Secret s key other"):
        environment(POD, wanted, "", HOST, {}, fetch)
    with pytest.raises(MissingError, match=r"spec\.nothing"):
        field("spec.nothing", POD, "", HOST)


def test_command_and_arguments():
    assert command({}, ("in",), {}) == ("in",)
    assert command({"args": ["$(A)"]}, ("in",), {"A": "1"}) == ("in", "1")
    assert command({"command": ["own"], "args": ["x"]}, ("in",), {}) == ("own", "x")


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("100m", 0.1), ("64Mi", 64 * 2**20), ("2G", 2e9), ("1e3", 1000)])
def test_quantities(text: str, value: float):
    assert quantity(text) == pytest.approx(value)


def context() -> Context:
    return Context(POD, "10.160.0.1", HOST, fetch, {("aud", 600): "token"})


def test_volumes_hold_what_their_sources_say():
    items = {"configMap": {"name": "c", "items": [{"key": "a", "path": "in/a", "mode": 0o600}]}}
    assert content(items, context()) == Content({"in/a": (b"1", 0o600)})
    projected = {
        "projected": {
            "defaultMode": 0o400,
            "sources": [
                {"serviceAccountToken": {"audience": "aud", "expirationSeconds": 600, "path": "token"}},
                {"secret": {"name": "s"}},
                {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ],
        }
    }
    found = content(projected, context())
    assert found is not None
    assert found.files == {"token": (b"token", 0o400), "key": (b"secret", 0o400), "ns": (b"shop", 0o644)}
    assert content({"emptyDir": {}}, context()) is None
    assert content({"secret": {"secretName": "gone", "optional": True}}, context()) == Content({})
    with pytest.raises(MissingError, match="Secret gone"):
        content({"secret": {"secretName": "gone"}}, context())
    with pytest.raises(MissingError, match="this node has"):
        content({"name": "v", "persistentVolumeClaim": {}}, context())


def test_a_change_appears_whole_and_nothing_else_moves(tmp_path: Path):
    write(tmp_path, Content({"a": (b"1", 0o644), "in/b": (b"2", 0o600)}))
    before = (tmp_path / "..data").readlink()
    write(tmp_path, Content({"a": (b"1", 0o644), "in/b": (b"2", 0o600)}))
    assert (tmp_path / "..data").readlink() == before
    write(tmp_path, Content({"a": (b"3", 0o644)}))
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("..")) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"3"
    assert not (tmp_path / before).exists()


def test_mounts(tmp_path: Path):
    pod = {
        **POD,
        "spec": {"volumes": [{"name": "s", "secret": {}}, {"name": "e", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/opt"}}]},
    }
    container = {"volumeMounts": [{"name": "s", "mountPath": "/s/"}, {"name": "e", "mountPath": "/e"}, {"name": "h", "mountPath": "/h"}]}
    found = mounts(container, pod, tmp_path)
    assert found == (Mount(tmp_path / "s", "/s", read_only=True), Mount(tmp_path / "e", "/e"), Mount(Path("/opt"), "/h"))


def launch(**changes: object) -> Launch:
    given = {"sandbox": 7, "layer": Path("/l"), "mounts": (), "words": ("prog", "an arg"), "security": {}}
    return Launch(**{**given, **changes})  # type: ignore[arg-type]


def test_the_chain_joins_the_pod_and_becomes_the_program():
    assert argv(launch())[:4] == ("nsenter", "--net=/proc/7/ns/net", "--uts=/proc/7/ns/uts", "--ipc=/proc/7/ns/ipc")
    last = script(launch(folder="/w")).splitlines()[-1]
    assert last.startswith("exec chroot $root setpriv ")
    assert last.endswith("env -C /w -- prog 'an arg'")


def test_privileges_are_those_of_the_security_context():
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        "readOnlyRootFilesystem": True,
    }
    found = privileges(launch(user=5, group=6, groups=(7,), security=security))
    assert {"--no-new-privs", "--bounding-set=-all,+net_bind_service", "--inh-caps=-all"} <= set(found)
    assert found[:2] == ("--reuid", "5")
    assert "remount,ro $root\n" in script(launch(security=security))
    assert "remount,ro $root\n" not in script(launch())


def test_a_mount_s_source_and_target_are_quoted():
    assert "put f '/a b' '/c d' &&" in script(launch(mounts=(Mount(Path("/a b"), "/c d", read_only=True, file=True),)))


@pytest.mark.parametrize("reference", ["echo-basic", "r.example:5000/x/echo-basic:v1", "r.example/echo-basic@sha256:0", "echo-basic:1"])
def test_an_image_is_known_by_the_last_part_of_its_name(reference: str):
    assert repository(reference) == "echo-basic"


def test_further_images_come_first_and_unknown_ones_are_none(tmp_path: Path):
    own = image("x/busybox:1", {"busybox": tmp_path / "b"}, print)
    assert own is not None
    assert own.mounts[0].source == tmp_path / "b"
    assert image("strange", {}, print) is None


NODES = {"a": {"zone": "1"}, "b": {"zone": "2"}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "a"),
        ({"nodeSelector": {"zone": "2"}}, "b"),
        ({"nodeSelector": {"zone": "3"}}, None),
        ({"nodeSelector": {"kubernetes.io/hostname": "b"}}, "b"),
    ],
)
def test_a_node_is_chosen_by_labels(spec: Object, expected: str | None):
    assert choose(spec, NODES, 0) == expected


@pytest.mark.parametrize(
    ("key", "operator", "values", "expected"),
    [
        ("zone", "In", ["2"], "b"),
        ("zone", "NotIn", ["1"], "b"),
        ("gpu", "Exists", [], None),
        ("gpu", "DoesNotExist", [], "a"),
        ("zone", "Gt", ["1"], "b"),
    ],
)
def test_a_node_is_chosen_by_affinity(key: str, operator: str, values: list[str], expected: str | None):
    term = {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}
    spec = {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}
    assert choose(spec, NODES, 0) == expected


RUNNING = ContainerState(state="running", ready=True, started=True, began="2026-01-01T00:00:00Z")


def facts(**changes: object) -> PodFacts:
    given = {"node_ip": "10.255.0.1", "ip": "10.160.0.1", "began": "2026-01-01T00:00:00Z", "initialized": True, "over": False}
    return PodFacts(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("states", "over", "expected"),
    [
        ([RUNNING], False, "Running"),
        ([ContainerState()], False, "Pending"),
        ([ContainerState(restarts=1)], False, "Running"),
        ([ContainerState(state="terminated", code=0)], True, "Succeeded"),
        ([ContainerState(state="terminated", code=0), ContainerState(state="terminated", code=1)], True, "Failed"),
    ],
)
def test_phases(states: list[ContainerState], over: bool, expected: str):
    assert phase(states, facts(over=over)) == expected


def test_times_of_conditions_change_with_them_only():
    first = status(POD, facts(), {}, {"c": RUNNING}, "2026-01-01T00:00:01Z")
    pod = {**POD, "status": first}
    again = status(pod, facts(), {}, {"c": RUNNING}, "2026-01-01T00:00:09Z")
    assert again == first
    unready = status(pod, facts(), {}, {"c": ContainerState(state="running")}, "2026-01-01T00:00:09Z")
    times = {each["type"]: each["lastTransitionTime"] for each in unready["conditions"]}
    assert times["Ready"] == "2026-01-01T00:00:09Z"
    assert times["PodScheduled"] == "2026-01-01T00:00:01Z"


def test_readiness_gates_hold_a_pod_back():
    gated = {**POD, "spec": {**POD["spec"], "readinessGates": [{"conditionType": "x.io/y"}]}}
    held = {each["type"]: each["status"] for each in status(gated, facts(), {}, {"c": RUNNING}, "t")["conditions"]}
    assert (held["Ready"], held["ContainersReady"]) == ("False", "True")
    opened = {**gated, "status": {"conditions": [{"type": "x.io/y", "status": "True", "lastTransitionTime": "t"}]}}
    kept = {each["type"]: each["status"] for each in status(opened, facts(), {}, {"c": RUNNING}, "t")["conditions"]}
    assert (kept["Ready"], kept["x.io/y"]) == ("True", "True")
