"""The command line of an Envoy."""

from itertools import pairwise
from pathlib import Path

from flota.local.proxyspec import ProxySpec, argv
from flota.local.state import StateFolder


def test_access_logs_can_be_followed_within_a_second_or_so() -> None:
    state = StateFolder(Path("/f"), Path("/f/.flota"), "0" * 16, Path("/f/.flota/run"))
    spec = ProxySpec(cluster="us", envoy=Path("/envoy"), version="1", bootstrap=b"{}")
    options = dict(pairwise(argv(spec, state, Path("/b.json"), 3)))
    assert int(options["--file-flush-interval-msec"]) <= 1000
    assert options["--restart-epoch"] == "3"
