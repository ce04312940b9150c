"""Fleets for tests, written as manifests. Objects are made without admission: what it would refuse is on the test."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from flota.fleet.fleet import Cluster, Fleet
from flota.fleet.kinds import KINDS, find
from flota.fleet.meta import Key
from flota.plan import ObjectRef, Plan
from flota.routing.planner import Planner

_START = datetime(2026, 1, 1, tzinfo=UTC)

GATEWAY = """
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: flota
  addresses: [{value: 127.0.0.10}]
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
"""


def documents(text: str) -> list[dict[str, Any]]:
    """Manifests; a missing apiVersion is filled in."""
    return [each for each in yaml.safe_load_all(text) if each]


def parse(document: Mapping[str, Any], age: int = 0) -> tuple[str, Key, Any]:
    """(field of `Cluster`, key, object). `age`: seconds after the start at which it was first seen."""
    document = dict(document)
    group, _, _ = document.get("apiVersion", "").rpartition("/")
    kind = find(group, document["kind"]) or next(each for each in KINDS if each.kind == document["kind"])
    document.setdefault("apiVersion", kind.api_version)
    meta = dict(document["metadata"])
    meta.setdefault("creationTimestamp", (_START + timedelta(seconds=age)).isoformat())
    meta.setdefault("generation", 1)
    if not kind.namespaced:
        meta["namespace"] = ""
    document["metadata"] = meta
    assert kind.struct
    made = msgspec.convert(document, kind.struct)
    return kind.collection, (made.metadata.namespace, made.metadata.name), made


def cluster(text: str, name: str = "us", region: str = "us-east", zone: str | None = None) -> Cluster:
    """A cluster of manifests; earlier ones are older."""
    return with_objects(Cluster(name, region, zone), documents(text))


def with_objects(base: Cluster, manifests: Iterable[Mapping[str, Any]]) -> Cluster:
    """The cluster with these objects put in or replaced."""
    fields: dict[str, dict[Key, Any]] = {}
    for age, document in enumerate(manifests):
        field, key, made = parse(document, age)
        fields.setdefault(field, dict(getattr(base, field)))[key] = made
    return msgspec.structs.replace(base, **fields)


def without(base: Cluster, field: str, key: Key) -> Cluster:
    """The cluster without one object."""
    left = {each: value for each, value in getattr(base, field).items() if each != key}
    return msgspec.structs.replace(base, **{field: left})


def fleet(*clusters: Cluster, **more: Any) -> Fleet:
    """A fleet of these clusters."""
    return Fleet("test", {each.name: each for each in clusters}, **more)


def service(name: str, namespace: str = "default", addresses: Iterable[str] = ("127.0.1.1",), port: int = 8080, **spec: Any) -> str:
    """A Service with its EndpointSlice."""
    endpoints = [{"addresses": [each]} for each in addresses]
    return yaml.safe_dump_all(
        [
            {"kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": {"ports": [{"port": port, **spec}]}},
            {
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"{name}-1",
                    "namespace": namespace,
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": "IPv4",
                "endpoints": endpoints,
                "ports": [{"port": port, "protocol": spec.get("protocol", "TCP")}],
            },
        ]
    )


def all_of(*texts: str) -> str:
    """Several manifests in one text."""
    return "\n---\n".join(texts)


def tls_secret(name: str, *hosts: str, namespace: str = "default") -> dict[str, Any]:
    """A Secret with a certificate for these hosts, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_START)
        .not_valid_after(_START + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in hosts]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pair = {"tls.crt": certificate.public_bytes(Encoding.PEM), "tls.key": key.private_bytes(*form)}
    return {"kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "type": "kubernetes.io/tls", "data": pair}


def condition(status: Any, kind: str) -> tuple[str, str]:
    """(status, reason) of a condition of a listener, Gateway or parent."""
    return next((each.status, each.reason) for each in status.conditions if each.type == kind)


def plan_of(*texts: str, more: Iterable[Mapping[str, Any]] = (), **world: Any) -> Plan:
    """The plan of one cluster `us` with these manifests."""
    manifests = [*(each for text in texts for each in documents(text)), *more]
    return Planner().plan(fleet(with_objects(Cluster("us", "us-east"), manifests), **world))


def status_of(plan: Plan, kind: str, name: str, namespace: str = "default") -> Any:
    """The status of an object of cluster `us`."""
    return plan.statuses.get(ObjectRef("us", kind, namespace, name))
