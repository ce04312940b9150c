"""Envoy's small value messages as constructor arguments: wrappers, durations, config sources."""

from typing import Any

from flota.envoy.protos import TYPE_PREFIX, Protos

Fields = dict[str, Any]
"""Keyword arguments of a message; nested messages as dicts. Ten times cheaper than `json_format`."""

ADS: Fields = {"ads": {}, "resource_api_version": "V3"}
"""ConfigSource: from the stream that brought the resource itself."""


def wrapped(value: int | bool) -> Fields:
    """google.protobuf.UInt32Value, UInt64Value or BoolValue."""
    return {"value": value}


def ms(milliseconds: int) -> Fields:
    """google.protobuf.Duration."""
    return {"seconds": milliseconds // 1000, "nanos": milliseconds % 1000 * 1_000_000}


def extension(protos: Protos, name: str, type_name: str, **fields: Any) -> Fields:
    """TypedExtensionConfig (and all messages of the same shape): an extension's name and its packed configuration."""
    return {"name": name, "typed_config": protos.any(protos.message(type_name)(**fields))}


def socket_address(address: str, port: int, protocol: str = "TCP") -> Fields:
    """envoy.config.core.v3.Address of an IP socket."""
    return {"socket_address": {"protocol": protocol, "address": address, "port_value": port}}


def type_url(type_name: str) -> str:
    """The type URL of a message."""
    return TYPE_PREFIX + type_name
