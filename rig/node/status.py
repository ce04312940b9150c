"""What the node writes into a pod's status (core/v1 PodStatus). Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from rig.api import Object

Phase = Literal["Pending", "Running", "Succeeded", "Failed"]


class ContainerState(Struct, frozen=True):
    """How a container is. `code` is set when it has ended."""

    state: Literal["waiting", "running", "terminated"] = "waiting"
    reason: str = "ContainerCreating"
    message: str = ""
    ready: bool = False
    started: bool = False
    restarts: int = 0
    began: str | None = None
    """RFC 3339."""
    ended: str | None = None
    code: int | None = None
    last: "ContainerState | None" = None
    """How it ended before it was started again."""
    id: str = ""


class PodFacts(Struct, frozen=True):
    """What a status is made from, beside the containers."""

    node_ip: str
    ip: str | None
    began: str
    initialized: bool
    over: bool
    """All containers have ended and none will be started again."""


def phase(states: Sequence[ContainerState], facts: PodFacts) -> Phase:
    """Of the whole pod, from its main containers."""
    if facts.over:
        return "Succeeded" if states and all(each.code == 0 for each in states) else "Failed"
    begun = any(each.state != "waiting" or each.restarts for each in states)
    return "Running" if begun and facts.initialized else "Pending"


def status(pod: Object, facts: PodFacts, inits: Mapping[str, ContainerState], mains: Mapping[str, ContainerState], now: str) -> Object:
    """The status; the times of conditions that did not change are kept."""
    now_phase = phase(tuple(mains.values()), facts)
    ready = now_phase == "Running" and all(each.ready for each in mains.values())
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates", ())]
    before = {each["type"]: each for each in pod.get("status", {}).get("conditions") or ()}
    passed = all(before.get(gate, {}).get("status") == "True" for gate in gates)
    unready = "" if ready else "PodCompleted" if facts.over else "ContainersNotReady"
    wanted = {
        "PodReadyToStartContainers": (facts.ip is not None, ""),
        "Initialized": (facts.initialized, "" if facts.initialized else "ContainersNotInitialized"),
        "ContainersReady": (ready, unready),
        "Ready": (ready and passed, unready or ("" if passed else "ReadinessGatesNotReady")),
        "PodScheduled": (True, ""),
    }
    conditions = [condition(name, value, reason, before.get(name), now) for name, (value, reason) in wanted.items()]
    found: dict[str, Any] = {
        "phase": now_phase,
        "hostIP": facts.node_ip,
        "hostIPs": [{"ip": facts.node_ip}],
        "startTime": facts.began,
        "observedGeneration": pod["metadata"].get("generation", 0),
        "conditions": conditions + [each for name, each in before.items() if name not in wanted],
        "containerStatuses": [_container(pod, "containers", name, each) for name, each in mains.items()],
    }
    if inits:
        found["initContainerStatuses"] = [_container(pod, "initContainers", name, each) for name, each in inits.items()]
    if facts.ip is not None:
        found |= {"podIP": facts.ip, "podIPs": [{"ip": facts.ip}]}
    return found


def condition(name: str, value: bool, reason: str, before: Object | None, now: str) -> Object:
    """One condition; its time changes only with its status."""
    text = "True" if value else "False"
    kept = before is not None and before.get("status") == text
    since = before["lastTransitionTime"] if kept and before is not None else now
    made: Object = {"type": name, "status": text, "lastTransitionTime": since}
    return made | ({"reason": reason} if reason else {})


def _container(pod: Object, kind: str, name: str, state: ContainerState) -> Object:
    [spec] = [each for each in pod["spec"][kind] if each["name"] == name]
    made: Object = {
        "name": name,
        "image": spec["image"],
        "imageID": f"rig://{spec['image']}",
        "ready": state.ready,
        "started": state.started,
        "restartCount": state.restarts,
        "state": _state(state),
        "lastState": _state(state.last) if state.last is not None else {},
    }
    return made | ({"containerID": f"rig://{state.id}"} if state.id else {})


def _state(state: ContainerState) -> Object:
    if state.state == "running":
        return {"running": {"startedAt": state.began}}
    if state.state == "terminated":
        told = {"exitCode": state.code if state.code is not None else 255, "reason": state.reason, "message": state.message}
        return {"terminated": told | {"startedAt": state.began, "finishedAt": state.ended}}
    return {"waiting": {"reason": state.reason, "message": state.message}}
