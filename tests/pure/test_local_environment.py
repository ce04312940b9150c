"""Environments, arguments and verdicts of containers, as tables."""

from typing import Any

import msgspec
import pytest

from flota.fleet.core import ConfigMap, Secret
from flota.fleet.meta import ObjectMeta
from flota.fleet.pods import Container, PodSpec, Probe
from flota.local.environment import Sources, command, environment, expand, inherited
from flota.local.podplan import PodPlan
from flota.local.probes import Verdict

PLAN = PodPlan("us", "shop", "web-1", "Deployment", "web", "h", {"app": "web"}, {"note": "n"}, PodSpec(containers=()))
SOURCES = Sources(
    {("shop", "settings"): ConfigMap(metadata=ObjectMeta("settings", "shop"), data={"A": "1", "B": "2"})},
    {("shop", "keys"): Secret(metadata=ObjectMeta("keys", "shop"), data={"K": b"secret"})},
)


def container(**more: Any) -> Container:
    return msgspec.convert({"name": "c", "command": ["run"], **more}, Container)


def variables(*env: dict[str, Any], **more: Any) -> dict[str, str]:
    found = environment(container(env=list(env), **more), PLAN, "127.9.9.9", SOURCES, {"PATH": "/bin", "A": "base"})
    assert found.missing == ()
    return found.variables


@pytest.mark.parametrize(
    ("text", "means"),
    [("$(A)-$(B)", "1-2"), ("$(NONE)", "$(NONE)"), ("$$(A)", "$(A)"), ("$A", "$A"), ("$$", "$"), ("", "")],
)
def test_references_are_replaced_as_kubernetes_does(text: str, means: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == means


def test_every_pod_knows_itself_and_the_later_wins() -> None:
    found = variables({"name": "HOSTNAME", "value": "mine"})
    assert found == {"PATH": "/bin", "A": "base", "POD_IP": "127.9.9.9", "POD_NAME": "web-1", "POD_NAMESPACE": "shop", "HOSTNAME": "mine"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("status.podIP", "127.9.9.9"),
        ("metadata.name", "web-1"),
        ("metadata.namespace", "shop"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['note']", "n"),
        ("metadata.labels['none']", ""),
        ("spec.nodeName", "us"),
    ],
)
def test_fields(path: str, value: str) -> None:
    assert variables({"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}})["X"] == value


def test_config_maps_and_secrets() -> None:
    found = variables(
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "B"}}},
        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "K"}}},
        {"name": "O", "valueFrom": {"secretKeyRef": {"name": "none", "key": "K", "optional": True}}},
        {"name": "R", "value": "$(C)/$(P_A)"},
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "none", "optional": True}}],
    )
    assert (found["C"], found["S"], found["R"], found["P_B"], "O" in found) == ("2", "secret", "2/1", "2", False)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "Z"}}}]}, "ConfigMap settings key Z"),
        ({"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "status.nothing"}}}]}, "field status.nothing"),
        ({"envFrom": [{"secretRef": {"name": "none"}}]}, "Secret none"),
    ],
)
def test_what_is_missing_is_named(more: dict[str, Any], named: str) -> None:
    assert environment(container(**more), PLAN, "127.9.9.9", SOURCES, {}).missing == (named,)


def test_arguments_see_the_variables() -> None:
    assert command(container(args=["--on", "$(POD_IP):80"]), variables()) == ("run", "--on", "127.9.9.9:80")


def test_flotas_own_settings_stay_with_flota() -> None:
    assert inherited({"PATH": "/bin", "FLOTA_RETRIES": "0"}) == {"PATH": "/bin"}


def test_a_verdict_turns_after_as_many_results_in_a_row() -> None:
    probe = Probe(success_threshold=2, failure_threshold=3)
    verdict = Verdict()
    seen = []
    for success in (True, True, False, False, True, False, False, False, True, True):
        verdict = verdict.after(probe, success=success)
        seen.append(verdict.good)
    assert seen == [None, True, True, True, True, True, True, False, False, True]
