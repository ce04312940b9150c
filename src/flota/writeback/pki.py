"""Certificates between proxies and Flota: an authority of its own, one certificate per Gateway, one for each Flota.

They live for a year and are renewed when a third of it has gone: a cluster whose Flota is away for 80 days keeps proxies that may
come back. The authority lives for ten years; a second one can be added to the roots before the first ends.
"""

import os
import ssl
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

CONTROL_PLANE_URI = "spiffe://flota.dev/control-plane"
"""The name in the certificate that Flota shows to proxies."""
LIFE = timedelta(days=365)
AUTHORITY_LIFE = timedelta(days=3650)
_SKEW = timedelta(minutes=5)
"""Machines whose clocks are a little behind accept a new certificate too."""


class Pair(Struct, frozen=True):
    """A certificate with its key, PEM."""

    certificate: bytes
    key: bytes


def new_authority(now: datetime) -> Pair:
    """A self-signed authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Flota proxies")])
    builder = _builder(name, name, key, now, AUTHORITY_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Pair(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def issue(authority: Pair, uri: str, now: datetime) -> Pair:
    """A certificate for `uri`, good for both sides of a connection. Raises ValueError for an authority that is none."""
    signer = x509.load_pem_x509_certificate(authority.certificate)
    signing = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(signing, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is not an elliptic curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    life = min(LIFE, signer.not_valid_after_utc - now)
    builder = _builder(x509.Name([]), signer.subject, key, now, life)
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = builder.add_extension(usages, critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    return Pair(_pem(builder.sign(signing, hashes.SHA256())), _key_pem(key))


def good(pair: Pair, roots: bytes, uri: str, now: datetime) -> bool:
    """Whether it is signed by one of `roots`, for `uri`, and has more than two thirds of its life before it."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = serialization.load_pem_private_key(pair.key, None)
        signers = x509.load_pem_x509_certificates(roots)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    fresh = certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - life * 2 / 3
    ours = names.get_values_for_type(x509.UniformResourceIdentifier) == [uri]
    return fresh and ours and key.public_key() == certificate.public_key() and any(_signed(certificate, each) for each in signers)


def server_context(roots: bytes, pair: Pair) -> ssl.SSLContext:
    """TLS 1.3 with certificates on both sides, HTTP/2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=roots.decode())
    context.set_alpn_protocols(["h2"])
    load_pair(context, pair)
    return context


def client_context(roots: bytes, pair: Pair) -> ssl.SSLContext:
    """The other side of the same: whoever uses it looks at the name in the server's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.load_verify_locations(cadata=roots.decode())
    context.set_alpn_protocols(["h2"])
    load_pair(context, pair)
    return context


def load_pair(context: ssl.SSLContext, pair: Pair) -> None:
    """Show this certificate from the next connection on. Python reads keys from files only: it gets one in memory."""
    memory = os.memfd_create("flota-certificate")
    try:
        os.write(memory, pair.certificate + pair.key)
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)


def _signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
