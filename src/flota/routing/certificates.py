"""Is this a certificate with its key, are these roots? Pure checks of what objects refer to (RFC 7468, core/v1 kubernetes.io/tls)."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from flota.fleet.core import ConfigMap, Secret

CERTIFICATE = "tls.crt"
KEY = "tls.key"
ROOTS = "ca.crt"
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


def roots(holder: ConfigMap | Secret | None) -> bytes | str:
    """The CA certificates that an object holds, PEM that ends with a line break; or what is wrong with it, to follow its name."""
    if holder is None:
        return "does not exist"
    text = _data(holder)
    if not text:
        return f"has no {ROOTS}"
    try:
        x509.load_pem_x509_certificates(text)
    except (ValueError, UnsupportedAlgorithm):
        return f"cannot be used: {ROOTS} is not a certificate in PEM form"
    if b"X509 CRL-----" in text:
        # Left out it would not be obeyed, and a damaged one makes the proxy refuse all of the roots.
        return f"cannot be used: {ROOTS} holds a revocation list; only certificates are allowed there"
    return text if text.endswith(b"\n") else text + b"\n"


def _data(holder: ConfigMap | Secret) -> bytes | None:
    if isinstance(holder, ConfigMap):
        text = holder.data.get(ROOTS)
        return holder.binary_data.get(ROOTS) if text is None else text.encode()
    return holder.data.get(ROOTS)
