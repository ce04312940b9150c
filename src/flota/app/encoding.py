"""What the encoding for a proxy depends on: the same for the running Flota and for `flota render`, which loads no server."""

from collections.abc import Callable
from pathlib import Path

from flota.envoy.bootstrap import envoy_path
from flota.envoy.module import choose
from flota.envoy.options import Options
from flota.envoy.protos import Protos
from flota.settings import Settings


def proxy_options(protos: Protos, settings: Settings, logs: Path) -> Callable[[str], Options]:
    """What the encoding for the proxy of a cluster depends on; decided once per start. `logs`: folder of the access logs."""
    keys = choose(protos, envoy_path())
    return lambda cluster: Options(settings, keys.way, keys.module, str(access_log(logs, cluster)))


def access_log(logs: Path, cluster: str) -> Path:
    """Where the proxy of a cluster writes its access log."""
    return logs / f"access-{cluster}.log"
