"""Commands on a folder of which nothing runs: what they say, and how they end."""

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml
from cli_harness import flota

from flota.report.schemas import REPORTS, schema_of

BAD = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: bad
spec:
  parentRefs:
    - name: web
  rulez: []
"""
LOST = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: lost
spec:
  parentRefs:
    - name: nobody
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    assert flota("init", str(folder)).code == 0
    return folder


def test_the_example_has_no_problems(shop: Path) -> None:
    ran = flota("check", cwd=shop)
    assert (ran.code, ran.out.strip()) == (0, "No problems.")


def test_init_takes_an_empty_folder_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert flota("init", "empty", cwd=tmp_path).code == 0
    again = flota("init", "empty", cwd=tmp_path)
    assert again.code == 1
    assert "not empty" in again.err
    (tmp_path / "file").touch()
    assert flota("init", "file", cwd=tmp_path).code == 1
    assert flota("-C", str(tmp_path), "init", "inside").code == 0
    assert (tmp_path / "inside" / "fleet.yaml").is_file()


def test_check_says_where_and_fails_only_on_what_is_refused(shop: Path) -> None:
    (shop / "us" / "lost.yaml").write_text(LOST)
    unresolved = flota("check", cwd=shop)
    assert unresolved.code == 0
    assert "us/lost.yaml:" in unresolved.out
    assert "nobody" in unresolved.out
    (shop / "us" / "bad.yaml").write_text(BAD)
    refused = flota("check", "-C", str(shop), "-o", "json")
    assert refused.code == 1
    rows = {each["name"]: each for each in refused.json["problems"]}
    assert (rows["bad"]["refused"], rows["bad"]["file"], rows["bad"]["line"]) == (True, "us/bad.yaml", 8)
    assert rows["lost"]["refused"] is False
    assert "rulez" in rows["bad"]["message"]


def test_folder_before_and_after_the_command(shop: Path, tmp_path: Path) -> None:
    before = flota("-C", str(shop), "explain", "gateway/web", "-o", "json", cwd=tmp_path)
    after = flota("explain", "gateway/web", "-o", "json", "-C", str(shop), cwd=tmp_path)
    assert (before.code, after.code) == (0, 0)
    assert before.json == after.json
    assert {each["cluster"] for each in after.json["objects"]} == {"us", "eu"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("status", "--context", "prod"), 2, "prod"),
        (("--context", "prod", "status"), 2, "prod"),
        (("--context", "prod", "up"), 2, "only read"),
        (("serve", "--context", "prod"), 2, "prod"),
        (("nonsense",), 2, "nonsense"),
        (("explain", "request", "http://x/"), 2, "--from"),
        (("explain", "request"), 2, "--from"),
        (("explain", "httproute"), 2, "KIND/NAME"),
        (("explain", "unicorn/x"), 2, "unicorn"),
        (("explain", "httproute/none"), 1, "default/shop"),
        (("explain", "request", "http://x/", "--from", "mars"), 2, "us, eu"),
        (("whatif",), 2, "--lose"),
        (("whatif", "--lose", "mars"), 2, "us-east"),
        (("drain", "us"), 2, "--for"),
        (("drain", "us", "--for", "soon"), 2, "30m"),
        (("drain", "us", "--for", "0s"), 2, "more than zero"),
        (("drain", "us", "--for", "30m"), 1, "does not run"),
        (("drain", "mars", "--for", "30m", "--dry-run"), 2, "us-east"),
        (("undrain", "us"), 1, "does not run"),
        (("up", "--timeout", "x"), 2, "--timeout"),
        (("schema", "Unicorn"), 2, "TrafficPolicy"),
        (("render", "--cluster", "mars"), 2, "us, eu"),
        (("render", "--as", "poetry"), 2, "envoy"),
        (("status", "-o", "xml"), 2, "json"),
        (("logs",), 1, "no logs"),
        (("status", "--watch"), 1, "does not run"),
    ],
)
def test_errors_say_what_would_be_right(shop: Path, words: tuple[str, ...], code: int, said: str) -> None:
    ran = flota(*words, cwd=shop)
    assert ran.code == code, ran
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("words", [("status",), ("check",), ("up", "-d"), ("render",), ("whatif", "--lose", "us")])
def test_no_fleet_here(tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = flota(*words, cwd=tmp_path)
    assert ran.code == 1
    assert "flota init" in ran.err
    assert not any(tmp_path.iterdir())


def test_status_says_that_nothing_runs(shop: Path) -> None:
    ran = flota("status", "-o", "json", cwd=shop)
    assert ran.code == 1
    assert "flota up" in ran.err
    jsonschema.validate(ran.json, schema_of(REPORTS["FleetStatus"]))
    assert ran.json["running"] is False
    assert {each["programmed"] for each in ran.json["gateways"]} == {None}
    assert not (shop / ".flota").exists()


def test_down_when_nothing_runs(shop: Path) -> None:
    ran = flota("down", cwd=shop)
    assert (ran.code, "nothing runs" in ran.out) == (0, True)


def test_yaml_is_the_same_as_json(shop: Path) -> None:
    words = ("explain", "request", "http://shop.example.com/x", "--from", "us", "-o")
    as_json, as_yaml = flota(*words, "json", cwd=shop), flota(*words, "yaml", cwd=shop)
    assert yaml.safe_load(as_yaml.out) == as_json.json
    assert as_json.json["route"] == {"kind": "HTTPRoute", "namespace": "default", "name": "shop"}
    assert (as_json.json["rule"], as_json.json["backend"]) == (0, "serviceimport/default/shop/8080")


def test_render(shop: Path) -> None:
    envoy = flota("render", "--cluster", "us", "-o", "json", cwd=shop)
    assert envoy.code == 0, envoy.err
    assert envoy.json["cluster"] == "us"
    assert [len(envoy.json[each]) for each in ("listeners", "clusters")] == [1, 1]
    objects = list(yaml.safe_load_all(flota("render", "--as", "objects", cwd=shop).out))
    assert {"ServiceImport", "GatewayClass", "Deployment"} <= {each["kind"] for each in objects}
    assert {each["metadata"]["annotations"]["flota.dev/cluster"] for each in objects} == {"us", "eu"}


def test_schema_fits_the_example(shop: Path) -> None:
    found = flota("schema", "clusterset").json
    jsonschema.validate(next(yaml.safe_load_all((shop / "fleet.yaml").read_text())), found)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"apiVersion": "flota.dev/v1alpha1", "kind": "ClusterSet", "spec": {}}, found)


def test_version() -> None:
    ran = flota("version", "-o", "json")
    jsonschema.validate(ran.json, schema_of(REPORTS["Version"]))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    assert "_FLOTA_COMPLETE" in flota("completion", shell).out


def test_completion_completes() -> None:
    asked = {"_FLOTA_COMPLETE": "complete_bash", "COMP_WORDS": "flota wh", "COMP_CWORD": "1"}
    assert flota(env=asked).out.split() == ["whatif"]


def test_no_colour_in_a_pipe(shop: Path) -> None:
    (shop / "us" / "bad.yaml").write_text(BAD)
    assert "\033[" not in flota("check", cwd=shop).out


def test_a_reader_that_leaves_is_no_accident(shop: Path) -> None:
    command = f"{sys.executable} -m flota.cli render | head -1"
    ended = subprocess.run(["bash", "-c", command], cwd=shop, capture_output=True, text=True, timeout=60)
    assert ended.stderr == ""


def test_settings_that_do_not_fit(shop: Path) -> None:
    ran = flota("run", cwd=shop, env={"FLOTA_ENVOY_CONCURRENCY": "many"})
    assert ran.code == 2
    assert "FLOTA_" in ran.err


def test_reading_costs_little(shop: Path) -> None:
    """The contract says 0.3 s of CPU; the best of several, as the machine has other things to do."""
    assert min(flota("status", cwd=shop).cpu for _ in range(5)) < 0.3


def test_the_schema_of_the_repository_is_what_the_command_prints() -> None:
    printed = flota("schema", "FleetStatus").json
    kept = resources.files("flota.report.schemas") / "FleetStatus.json"
    assert printed == json.loads(kept.read_text())
