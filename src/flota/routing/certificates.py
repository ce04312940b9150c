"""Is this Secret a certificate with its key? A pure check of what a listener refers to (RFC 7468, core/v1 kubernetes.io/tls)."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from flota.fleet.core import Secret

CERTIFICATE = "tls.crt"
KEY = "tls.key"
LEAST_RSA_BITS = 2048
CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""What Envoy takes; it refuses the whole socket of a Gateway for one key of another kind."""


def fault(secret: Secret) -> str | None:
    """Why the Secret cannot serve TLS; None when it can. One sentence without the key in it."""
    missing = [name for name in (CERTIFICATE, KEY) if not secret.data.get(name)]
    if missing:
        return f"it has no {' and no '.join(missing)}"
    try:
        chain = x509.load_pem_x509_certificates(secret.data[CERTIFICATE])
    except (ValueError, UnsupportedAlgorithm):
        return f"{CERTIFICATE} is not a certificate in PEM form"
    try:
        key = load_pem_private_key(secret.data[KEY], password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return f"{KEY} is not an unencrypted private key in PEM form"
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != chain[0].public_key().public_bytes(*form):
        return f"{KEY} does not belong to the first certificate of {CERTIFICATE}"
    return _weak(key)


def _weak(key: object) -> str | None:
    """Why the proxy does not take a key of this kind."""
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < LEAST_RSA_BITS:
        return f"{KEY} is an RSA key of {key.key_size} bits; at least {LEAST_RSA_BITS} are needed"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in CURVES:
        return f"{KEY} is on the curve {key.curve.name}; {', '.join(CURVES)} are allowed"
    return None
