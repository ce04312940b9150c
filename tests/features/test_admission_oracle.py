# ruff: noqa: E501 — the lists of values read best dense
"""Admission against the API server's own code: thousands of changed documents, two verdicts each.

Ours may be stricter, for the reasons listed; never looser. Skips where Go, the modules or the CRDs are not at hand: nothing is
fetched here (`cd tests/oracle && go mod download`, `go mod download sigs.k8s.io/gateway-api@v1.6.1` bring them).
"""

import copy
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flota.sources.admission import admit

sys.path.insert(0, str(Path(__file__).parents[1] / "pure"))
from admission_documents import GONE, Document, Place, document, put

SOURCE = Path(__file__).parents[1] / "oracle"
DOCUMENTS = 6000
KINDS = (
    "GatewayClass", "Gateway", "ListenerSet", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "ReferenceGrant", "BackendTLSPolicy",
    "XBackend", "XBackendTrafficPolicy",
)  # fmt: skip
VALUES: list[Any] = [
    None, "", "a", "A", "a.b", "*.a", "*", "a b", "/", "/x", "//", "x" * 254, "é", "a\n", " a", "1.2.3.4", "::1", "Exact", "PathPrefix",
    "RegularExpression", "HTTP", "HTTPS", "TLS", "TCP", "UDP", "Terminate", "Passthrough", "GET", "Service", "ServiceImport", "Gateway", "gw",
    "https", "http", "RequestRedirect", "URLRewrite", "RequestMirror", "CORS", "ExtensionRef", "ReplaceFullPath", "ReplacePrefixMatch",
    "Cookie", "Header", "None", "ServerOnly", "ClientAndServer", "H2C", "MCP", "a.cluster.local", "2h", "XBackend", "Permanent", "Session", "Hostname", "IPAddress", "x.io/y", "All", "Same", "None", "Selector", "1s", "0s", "5m", "10h2s",
    "1.5s", "System", "GRPC", 0, 1, -1, 80, 443, 5432, 65536, 1.5, 100, 101, True, False, [], {}, ["a"], ["a", "a"], [{}], {"a": "b"},
    {"name": "a"}, {"name": "a", "port": 80}, {"type": "RequestRedirect"}, "-", "com.x", "spiffe://a/b", 2**31, 2**40, "%2f", "/a%zz", "/a/..", "#",
]  # fmt: skip
STRICTER = (
    "is an IP address; a host name is needed",  # the text of hostname; the pattern lets IPv4 through
    "is required for protocol HTTPS",  # the text of tls
    "is not a header name",  # `remove` has no pattern
    "is not a path; blanks",  # nor have replacement paths
    "is not a regular expression of RE2",
    "domain/name of an implementation",  # two official patterns are not anchored at both ends
)

LOOSER = (
    "Name must be a valid DNS label",  # the rule of XBackend's port compares with null what never is null, so no name at all passes
)


def _modules() -> Path:
    return Path(os.environ.get("GOMODCACHE") or Path(os.environ.get("GOPATH", Path.home() / "go")) / "pkg/mod")


@pytest.fixture(scope="module")
def referee() -> list[str]:
    """The command that judges; built once per version into the user's cache."""
    go = shutil.which("go")
    crds = _modules() / "sigs.k8s.io/gateway-api@v1.6.1/config/crd/experimental"
    if not go or not crds.is_dir():
        pytest.skip(f"no go, or no CRDs in {crds}")
    digest = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))).hexdigest()[:16]
    binary = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flota" / f"admission-oracle-{digest}"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        offline = os.environ | {"GOPROXY": "off", "GOFLAGS": "-mod=readonly"}
        made = binary.with_name(f"{binary.name}.{os.getpid()}")
        built = subprocess.run([go, "build", "-o", str(made), "."], cwd=SOURCE, env=offline, capture_output=True, text=True, timeout=600)
        if built.returncode and "module lookup disabled" in built.stderr:
            pytest.skip("the Go modules of tests/oracle are not at hand: cd tests/oracle && go mod download")
        assert built.returncode == 0, built.stderr
        made.replace(binary)
    return [str(binary), str(crds)]


def _places(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    yield place, value
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(inner, (*place, name))


def _changed(chance: random.Random, known: list[Any], names: list[str]) -> Document:
    made = document(chance.choice(KINDS))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = [each for each in _places(made) if each[0] and each[0][0] == "spec"]
        if not places:
            break
        place, value = chance.choice(places)
        way = chance.random()
        if way < 0.6:
            put(made, place, copy.deepcopy(chance.choice(VALUES if way < 0.45 else known)))
        elif way < 0.7 and len(place) > 1:
            put(made, place, GONE)
        elif isinstance(value, dict):
            value[chance.choice(names)] = copy.deepcopy(chance.choice(known))
        elif isinstance(value, list) and value:
            value.append(copy.deepcopy(chance.choice(value)))
        elif isinstance(value, str):
            put(made, place, value + chance.choice(("-", ".", "x", "\n", "A", "*")))
    return made


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_admission_is_never_looser_than_the_api_server(referee: list[str]) -> None:
    chance = random.Random(61)
    known = [value for kind in KINDS for place, value in _places(document(kind)) if place]
    names = sorted({str(step) for kind in KINDS for place, _ in _places(document(kind)) for step in place if isinstance(step, str)})
    made = [_changed(chance, known, names) for _ in range(DOCUMENTS)]
    lines = "\n".join(json.dumps(each) for each in made)
    judged = subprocess.run(referee, input=lines, capture_output=True, text=True, check=True, timeout=300).stdout.splitlines()
    admitted = 0
    for each, line in zip(made, judged, strict=True):
        official, ours = json.loads(line), admit(each)
        admitted += ours.verdict == "admitted"
        official = [each for each in official if not any(why in each for why in LOOSER)]
        if official:
            assert ours.verdict == "refused", (each, official)
        elif ours.verdict == "refused":
            assert all(any(why in fault.message for why in STRICTER) for fault in ours.faults), (each, ours.faults)
    assert DOCUMENTS * 0.05 < admitted < DOCUMENTS * 0.5, "the changes no longer test both verdicts"
