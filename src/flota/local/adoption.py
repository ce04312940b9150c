"""Pods found again: which of our processes make up which pod, from the notes in their records. Pure but for reading notes."""

import re
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct, field

from flota.local.kernel import mark_of
from flota.local.podplan import PodPlan, Workload, pod_plan
from flota.local.process import Exit, Process, Record

PodKey = tuple[str, str, str]
_PREFIX = "pod/"


class Found(Struct):
    """A pod of an earlier life. `plan` None = its record was lost; a workload that makes such pods must explain it."""

    key: PodKey
    ip: str
    hash: str
    plan: PodPlan | None = None
    begun: float | None = None
    """When it was started (Unix seconds), where its record says so."""
    living: dict[str, Process] = field(default_factory=dict)
    gone: dict[str, Exit] = field(default_factory=dict)


def found_pods(living: Mapping[str, Process], gone: Mapping[str, tuple[Record, Exit]]) -> dict[PodKey, Found]:
    """What `Runner.adopt` returned, put together by pod."""
    found: dict[PodKey, Found] = {}
    for process in living.values():
        place = _place(found, process.record)
        if place is not None:
            place[0].living[place[1]] = process
    for record, end in gone.values():
        place = _place(found, record)
        if place is not None:
            place[0].gone[place[1]] = end
    return found


def explain(found: Found, workloads: Iterable[Workload]) -> PodPlan | None:
    """The plan of a pod whose record was lost: that of the workload which would give it this name and this template."""
    for workload in workloads:
        if (workload.cluster, workload.namespace, workload.hash) == (found.key[0], found.key[1], found.hash):
            suffix = found.key[2].rpartition("-")[2]
            plan = pod_plan(workload, suffix)
            if plan.name == found.key[2]:
                return plan
    return None


def _place(found: dict[PodKey, Found], record: Record) -> tuple[Found, str] | None:
    parts = record.name.split("/")
    if not record.name.startswith(_PREFIX) or len(parts) != 5:
        return None
    key = (parts[1], parts[2], parts[3])
    pod = found.get(key)
    if pod is None:
        # Without a record its own environment still says where it listens.
        ip = record.note.get("ip") or mark_of(record.pid, "POD_IP") or ""
        pod = found[key] = Found(key, ip, record.digest, _plan(record), _begun(record))
    return pod, parts[4]


def _begun(record: Record) -> float | None:
    text = record.note.get("begun", "")
    return float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else None


def _plan(record: Record) -> PodPlan | None:
    try:
        return msgspec.json.decode(record.note.get("plan", ""), type=PodPlan)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
