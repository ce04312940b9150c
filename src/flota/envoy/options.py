"""What the encoding of a plan depends on besides the plan: fixed for the life of a proxy process."""

from msgspec import Struct

from flota.envoy.scope_key import Way
from flota.settings import Settings


class Options(Struct, frozen=True):
    """One proxy's."""

    settings: Settings = Settings()
    way: Way = "cel"
    """How scope keys are computed; "module" needs `module`."""
    module: str = ""
    """Absolute path of the built scope key module, with a digest in its name: Envoy never loads the same path twice."""
    access_log: str | None = None
    """File for access logs, one JSON object per line; `-` = standard output, None = none are written."""
    system_roots: str = "/etc/ssl/certs/ca-certificates.crt"
    """PEM file with the machine's trusted roots."""
