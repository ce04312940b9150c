"""`flota version`."""

from typing import Literal

from flota.report.shape import API_VERSION, ApiVersion, Row


class Version(Row, frozen=True, kw_only=True):
    """Versions of Flota, of the Envoy it brings, and of the Gateway API and Python it works with."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Version"] = "Version"
    flota: str
    envoy: str
    gateway_api: str
    python: str

    def lines(self) -> tuple[str, ...]:
        """For people."""
        return (f"flota {self.flota}", f"envoy {self.envoy}", f"gateway API {self.gateway_api}", f"python {self.python}")
