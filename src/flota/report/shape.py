"""The common shape of what is printed: camelCase JSON with `apiVersion` and `kind`, null where unknown."""

from typing import Literal

from msgspec import Struct

ApiVersion = Literal["flota.dev/v1alpha1"]
API_VERSION: ApiVersion = "flota.dev/v1alpha1"


class Row(Struct, frozen=True, kw_only=True, rename="camel"):
    """A piece of a report."""
