"""Certificates for tests: an authority and what it signs, as PEM."""

import datetime as dt
import ipaddress
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


class Pair(NamedTuple):
    """A certificate with its key, PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs for an hour, from an hour ago."""

    def __init__(self, name: str = "test authority", key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None) -> None:
        self._key = key or ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.roots = made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def own(self) -> Pair:
        """The authority's certificate with its own key."""
        return Pair(self.roots, _pem(self._key))

    def sign(self, *names: str) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([_name(name) for name in names])
        made = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]), key)
        certificate = made.add_extension(alternatives, critical=False).sign(self._key, hashes.SHA256())
        return Pair(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> x509.CertificateBuilder:
        now, hour = dt.datetime.now(dt.UTC), dt.timedelta(hours=1)
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now - hour).not_valid_after(now + hour))


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
