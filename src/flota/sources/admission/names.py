"""Names and labels as apimachinery's validation package has them."""

import ipaddress
import re

from flota.sources.admission.fault import Fault, Faults, Path, fault, quoted

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_PORT = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*\Z")
_KEY = re.compile(r"[-._a-zA-Z0-9]+\Z")


def is_label(value: str) -> bool:
    """RFC 1123 label: at most 63 lower-case letters, digits and dashes."""
    return len(value) <= 63 and bool(_LABEL.match(value))


def is_subdomain(value: str) -> bool:
    """RFC 1123 subdomain: labels with dots, at most 253 characters."""
    return len(value) <= 253 and bool(_SUBDOMAIN.match(value))


def is_ip(value: str) -> bool:
    """An IPv4 or IPv6 address without a scope."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return "%" not in value


def is_qualified(value: str) -> bool:
    """A label key: an optional subdomain and slash, then at most 63 letters, digits, `-`, `_`, `.`."""
    prefix, slash, name = value.rpartition("/")
    return (not slash or is_subdomain(prefix)) and len(name) <= 63 and bool(_QUALIFIED.match(name))


def is_label_value(value: str) -> bool:
    """A label value: empty, or at most 63 letters, digits, `-`, `_`, `.`."""
    return not value or (len(value) <= 63 and bool(_QUALIFIED.match(value)))


def is_port_name(value: str) -> bool:
    """IANA service name (RFC 6335): at most 15 lower-case letters, digits and single dashes, with a letter."""
    return len(value) <= 15 and bool(_PORT.match(value))


def is_key(value: str) -> bool:
    """A key of a ConfigMap or Secret: also a file name."""
    return len(value) <= 253 and bool(_KEY.match(value)) and value != "." and not value.startswith("..")


def label(path: Path, value: str) -> Faults:
    """Faults of an RFC 1123 label."""
    if not is_label(value):
        yield _bad(path, value, "at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends")


def label_1035(path: Path, value: str) -> Faults:
    """Faults of an RFC 1035 label, which starts with a letter (names of Services)."""
    if len(value) > 63 or not _LABEL_1035.match(value):
        yield _bad(path, value, "at most 63 lower-case letters, digits and dashes, with a letter first and no dash at the end")


def subdomain(path: Path, value: str) -> Faults:
    """Faults of an RFC 1123 subdomain."""
    if not is_subdomain(value):
        words = "at most 253 lower-case letters, digits, dashes and dots, with a letter or digit at both ends of each part"
        yield _bad(path, value, words)


def labels(path: Path, given: dict[str, str]) -> Faults:
    """Faults of labels (and of selectors by labels)."""
    for key, value in given.items():
        if not is_qualified(key):
            yield _bad((*path, key), key, "a key of the form [domain/]name with a name of at most 63 letters, digits, - _ .")
        if not is_label_value(value):
            yield _bad((*path, key), value, "at most 63 letters, digits, dashes, underscores and dots")


def annotations(path: Path, given: dict[str, str]) -> Faults:
    """Faults of annotations; all together hold at most 256 KiB."""
    size = 0
    for key, value in given.items():
        size += len(key) + len(value.encode())
        if not is_qualified(key.lower()):
            yield _bad((*path, key), key, "a key of the form [domain/]name with a name of at most 63 letters, digits, - _ .")
    if size > 262_144:
        yield fault(path, "TooLong", f"holds {size} bytes; at most 262144 are allowed")


def _bad(path: Path, value: str, words: str) -> Fault:
    return fault(path, "Invalid", f"{quoted(value)} is not allowed; must be {words}")
