"""The scope key module is used where Envoy takes it, and its absence or refusal has a reason."""

import platform
import shutil
from pathlib import Path

import pytest

from flota.envoy import module
from flota.envoy.bootstrap import envoy_path
from flota.envoy.protos import load


@pytest.mark.skipif(not (shutil.which("gcc") or shutil.which("cc")), reason="no C compiler (gcc or cc) to build the module with")
def test_the_built_module_is_taken() -> None:
    found = module.choose(load(), envoy_path())
    assert (found.way, found.reason) == ("module", ""), "`make native` builds it"
    assert Path(found.module).is_absolute()


def test_without_one_configuration_does_it(tmp_path: Path) -> None:
    found = module.choose(load(), envoy_path(), tmp_path)
    assert found.way == "cel"
    assert "make" in found.reason


def test_one_that_envoy_refuses_is_not_used(tmp_path: Path) -> None:
    (tmp_path / f"libscope_key-broken-{platform.machine()}.so").write_bytes(b"not a library")
    found = module.choose(load(), envoy_path(), tmp_path)
    assert (found.way, found.module) == ("cel", "")
    assert "Envoy does not load" in found.reason
    assert found.reason.rpartition(": ")[2]


def test_without_an_envoy_there_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / f"libscope_key-any-{platform.machine()}.so").write_bytes(b"")
    assert "No such file" in module.choose(load(), tmp_path / "envoy", tmp_path).reason
