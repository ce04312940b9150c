"""Finds the scope key module and asks Envoy whether it takes it. Decided once per start, before anything is encoded."""

import json
import platform
import subprocess
from pathlib import Path

import msgspec

from flota.envoy.protos import Protos
from flota.envoy.scope_key import Way, mutation
from flota.envoy.values import extension

FOLDER = Path(__file__).parent / "native"
PROBE_S = 10.0


class ScopeKeys(msgspec.Struct, frozen=True):
    """How scope keys are computed. `reason`: why not by the module, empty when it is."""

    way: Way
    module: str = ""
    reason: str = ""


def choose(protos: Protos, envoy: Path, folder: Path = FOLDER) -> ScopeKeys:
    """The module if it was built for this machine and this Envoy loads it (35 ms to find out), else pure configuration.

    Configuration costs 5 µs more per request and answers the same.
    """
    built = sorted(folder.glob(f"libscope_key-*-{platform.machine()}.so"))
    if not built:
        return ScopeKeys("cel", reason=f"no module was built for {platform.machine()} (`make` builds it where gcc is)")
    module = str(built[-1].resolve())
    refusal = _refusal(protos, envoy, module)
    return ScopeKeys("cel", reason=f"Envoy does not load {module}: {refusal}") if refusal else ScopeKeys("module", module)


def _refusal(protos: Protos, envoy: Path, module: str) -> str:
    """What Envoy says against a configuration with the module; empty when it is content."""
    config = json.dumps({"static_resources": {"listeners": [_probe(protos, module)]}})
    try:
        done = subprocess.run([envoy, "--mode", "validate", "-l", "error", "--config-yaml", config],
                              capture_output=True, timeout=PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.decode(errors="replace").strip()[-500:] or f"exit {done.returncode}"


def _probe(protos: Protos, module: str) -> dict[str, object]:
    manager = extension(
        protos, "probe", "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="probe", route_config={"name": "probe"},
        http_filters=[extension(protos, "router", "envoy.extensions.filters.http.router.v3.Router")],
        early_header_mutation_extensions=[mutation(protos, "module", "probe", module)])
    typed = protos.to_dict(manager["typed_config"].SerializeToString())
    return {
        "name": "probe",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "probe", "typed_config": typed}]}],
    }
