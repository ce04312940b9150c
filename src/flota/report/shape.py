"""The common shape of what is printed: camelCase JSON with `apiVersion` and `kind`, null where unknown."""

from msgspec import Struct

API_VERSION = "flota.dev/v1alpha1"


class Row(Struct, frozen=True, kw_only=True, rename="camel"):
    """A piece of a report."""
