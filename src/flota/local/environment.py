"""The environment and the arguments of a container (core/v1 EnvVar, Container.command). Pure."""

import re
from collections.abc import Mapping

from msgspec import Struct

from flota.fleet.core import ConfigMap, Secret
from flota.fleet.meta import Key
from flota.fleet.pods import Container, EnvFromSource, EnvVar
from flota.local.podplan import PodPlan

_REFERENCE = re.compile(r"\$\$|\$\(([^()$]+)\)")
_MAPPED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class Sources(Struct, frozen=True):
    """Where values may come from: the ConfigMaps and Secrets of the pod's cluster."""

    config_maps: Mapping[Key, ConfigMap]
    secrets: Mapping[Key, Secret]


class Environment(Struct, frozen=True):
    """The variables, and what is missing for them; a container with something missing is not started."""

    variables: dict[str, str]
    missing: tuple[str, ...] = ()


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What pods get of the environment that Flota was started in: all of it, as in a shell, but not Flota's own settings."""
    return {name: value for name, value in environ.items() if not name.startswith("FLOTA_")}


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)`; an unknown name stays as it is, `$$` is a dollar (as Kubernetes says for command, args, env)."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else variables.get(found[1], found[0])

    return _REFERENCE.sub(value, text)


def environment(container: Container, plan: PodPlan, ip: str, sources: Sources, base: Mapping[str, str]) -> Environment:
    """What a container gets: `base` (of Flota itself), the pod's own facts, `envFrom`, `env`; the later wins."""
    facts = {"POD_IP": ip, "POD_NAME": plan.name, "POD_NAMESPACE": plan.namespace, "HOSTNAME": plan.spec.hostname or plan.name}
    if plan.index is not None:
        facts["JOB_COMPLETION_INDEX"] = str(plan.index)
    missing: list[str] = []
    own: dict[str, str] = dict(facts)
    for source in container.env_from:
        own |= _many(source, plan.namespace, sources, missing)
    for variable in container.env:
        value = _one(variable, own, plan, ip, sources, missing)
        if value is not None:
            own[variable.name] = value
    return Environment({**base, **own}, tuple(missing))


def command(container: Container, variables: Mapping[str, str]) -> tuple[str, ...]:
    """The words to execute."""
    return tuple(expand(word, variables) for word in (*container.command, *container.args))


def _one(variable: EnvVar, own: Mapping[str, str], plan: PodPlan, ip: str, sources: Sources, missing: list[str]) -> str | None:
    source = variable.value_from
    if source is None:
        return expand(variable.value, own)
    if source.field_ref is not None:
        return _field(source.field_ref.field_path, plan, ip, missing)
    if source.config_map_key_ref is not None:
        ref = source.config_map_key_ref
        held = sources.config_maps.get((plan.namespace, ref.name))
        value = held.data.get(ref.key) if held is not None else None
        return _found(value, f"ConfigMap {ref.name} key {ref.key}", missing, optional=ref.optional)
    if source.secret_key_ref is not None:
        secret = source.secret_key_ref
        kept = sources.secrets.get((plan.namespace, secret.name))
        raw = kept.data.get(secret.key) if kept is not None else None
        text = raw.decode("utf-8", "replace") if raw is not None else None
        return _found(text, f"Secret {secret.name} key {secret.key}", missing, optional=secret.optional)
    missing.append(f"the source of variable {variable.name} (Flota knows fieldRef, configMapKeyRef, secretKeyRef)")
    return None


def _found(value: str | None, what: str, missing: list[str], *, optional: bool) -> str | None:
    if value is None and not optional:
        missing.append(what)
    return value


def _field(path: str, plan: PodPlan, ip: str, missing: list[str]) -> str | None:
    plain = {
        "metadata.name": plan.name,
        "metadata.namespace": plan.namespace,
        "metadata.uid": f"{plan.cluster}-{plan.namespace}-{plan.name}",
        "status.podIP": ip,
        "status.podIPs": ip,
        "status.hostIP": "127.0.0.1",
        "status.hostIPs": "127.0.0.1",
        "spec.nodeName": plan.cluster,
        "spec.serviceAccountName": plan.spec.service_account_name or "default",
    }
    if path in plain:
        return plain[path]
    mapped = _MAPPED.fullmatch(path)
    if mapped is None:
        missing.append(f"field {path}")
        return None
    return (plan.labels if mapped[1] == "labels" else plan.annotations).get(mapped[2], "")


def _many(source: EnvFromSource, namespace: str, sources: Sources, missing: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    if source.config_map_ref is not None:
        held = sources.config_maps.get((namespace, source.config_map_ref.name))
        if held is None and not source.config_map_ref.optional:
            missing.append(f"ConfigMap {source.config_map_ref.name}")
        found |= held.data if held is not None else {}
    if source.secret_ref is not None:
        kept = sources.secrets.get((namespace, source.secret_ref.name))
        if kept is None and not source.secret_ref.optional:
            missing.append(f"Secret {source.secret_ref.name}")
        found |= {name: raw.decode("utf-8", "replace") for name, raw in kept.data.items()} if kept is not None else {}
    return {source.prefix + name: value for name, value in found.items()}
