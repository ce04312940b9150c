"""Is this a certificate with its key, are these roots? Pure checks of what objects refer to (RFC 7468, core/v1 kubernetes.io/tls)."""

from flota.fleet.core import CERTIFICATE, KEY, ConfigMap, Secret

ROOTS = "ca.crt"


def fault(secret: Secret) -> str | None:
    """Why the Secret cannot serve TLS; None when it can. One sentence without the key in it."""
    missing = [name for name in (CERTIFICATE, KEY) if not secret.data.get(name)]
    if missing:
        return f"it has no {' and no '.join(missing)}"
    from flota.routing.pem import pair_fault  # cryptography is big, and few fleets that are looked at have certificates

    return pair_fault(secret.data[CERTIFICATE], secret.data[KEY])


def roots(holder: ConfigMap | Secret | None) -> bytes | str:
    """The CA certificates that an object holds, PEM that ends with a line break; or what is wrong with it, to follow its name."""
    if holder is None:
        return "does not exist"
    text = _data(holder)
    if not text:
        return f"has no {ROOTS}"
    from flota.routing.pem import are_certificates

    if not are_certificates(text):
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
