"""Certificates and keys in PEM form (RFC 7468), judged as the proxy takes them."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from flota.fleet.core import CERTIFICATE, KEY

LEAST_RSA_BITS = 2048
CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""What Envoy takes; it refuses the whole socket of a Gateway for one key of another kind."""


def pair_fault(certificate: bytes, private: bytes) -> str | None:
    """Why these cannot serve TLS together; None when they can. One sentence without the key in it."""
    try:
        chain = x509.load_pem_x509_certificates(certificate)
    except (ValueError, UnsupportedAlgorithm):
        return f"{CERTIFICATE} is not a certificate in PEM form"
    try:
        key = load_pem_private_key(private, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return f"{KEY} is not an unencrypted private key in PEM form"
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != chain[0].public_key().public_bytes(*form):
        return f"{KEY} does not belong to the first certificate of {CERTIFICATE}"
    return _weak(key)


def are_certificates(text: bytes) -> bool:
    """Whether it holds certificates, and all of them can be read."""
    try:
        x509.load_pem_x509_certificates(text)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def _weak(key: object) -> str | None:
    """Why the proxy does not take a key of this kind."""
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < LEAST_RSA_BITS:
        return f"{KEY} is an RSA key of {key.key_size} bits; at least {LEAST_RSA_BITS} are needed"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in CURVES:
        return f"{KEY} is on the curve {key.curve.name}; {', '.join(CURVES)} are allowed"
    return None
