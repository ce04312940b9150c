"""kubeconfig files and the service account of a pod → how to reach an API server (client-go's rules). Reads files, nothing else.

Not lightkube's or kr8s's reader: see docs/decisions (no exec `v1`, client certificates from exec, expiry, rotation, file lists there).
"""

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml
from msgspec import Struct, field

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Access(Struct, frozen=True, kw_only=True):
    """How to reach one API server. Of data and file of the same thing the data counts; files may rotate."""

    server: str
    name: str = ""
    """The context's name."""
    namespace: str = "default"
    tls_server_name: str | None = None
    insecure: bool = False
    proxy: str | None = None
    ca: bytes | None = None
    ca_file: Path | None = None
    token: str | None = None
    token_file: Path | None = None
    username: str | None = None
    password: str | None = None
    certificate: bytes | None = None
    certificate_file: Path | None = None
    key: bytes | None = None
    key_file: Path | None = None
    exec: "Exec | None" = None


class EnvVar(Struct, frozen=True):
    """A variable for the command."""

    name: str
    value: str


class Exec(Struct, frozen=True, rename="camel"):
    """A command that prints an ExecCredential (client.authentication.k8s.io)."""

    command: str
    api_version: str = "client.authentication.k8s.io/v1"
    args: tuple[str, ...] | None = None
    env: tuple[EnvVar, ...] | None = None
    install_hint: str | None = None
    provide_cluster_info: bool = False
    folder: str | None = None
    """Where a relative command with a slash is found: the kubeconfig's folder. Not part of the format."""


class _Cluster(Struct, frozen=True, rename="kebab"):
    server: str = ""
    tls_server_name: str | None = None
    insecure_skip_tls_verify: bool = False
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    proxy_url: str | None = None


class _User(Struct, frozen=True):
    client_certificate: str | None = field(name="client-certificate", default=None)
    client_certificate_data: str | None = field(name="client-certificate-data", default=None)
    client_key: str | None = field(name="client-key", default=None)
    client_key_data: str | None = field(name="client-key-data", default=None)
    token: str | None = None
    token_file: str | None = field(name="tokenFile", default=None)
    username: str | None = None
    password: str | None = None
    exec: Exec | None = None
    auth_provider: object = field(name="auth-provider", default=None)


class _Context(Struct, frozen=True):
    cluster: str = ""
    user: str = ""
    namespace: str | None = None


class _NamedCluster(Struct, frozen=True):
    name: str
    cluster: _Cluster | None = None


class _NamedUser(Struct, frozen=True):
    name: str
    user: _User | None = None


class _NamedContext(Struct, frozen=True):
    name: str
    context: _Context | None = None


class _File(Struct, frozen=True):
    clusters: tuple[_NamedCluster, ...] | None = None
    users: tuple[_NamedUser, ...] | None = None
    contexts: tuple[_NamedContext, ...] | None = None
    current_context: str | None = field(name="current-context", default=None)


class KubeconfigError(ValueError):
    """The configuration cannot be used; the message says which part of which file."""


class _Merged(Struct):
    """All files as one; of the same name the first file counts. Each with the folder its relative paths start at."""

    clusters: dict[str, tuple[_Cluster, Path]] = field(default_factory=dict)
    users: dict[str, tuple[_User, Path]] = field(default_factory=dict)
    contexts: dict[str, _Context] = field(default_factory=dict)
    current: str = ""
    read: list[str] = field(default_factory=list)


def config_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that `KUBECONFIG` names, else the one at home."""
    named = [part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return tuple(Path(part) for part in named) or (Path(environ.get("HOME", "/")) / ".kube" / "config",)


def context_names(files: tuple[Path, ...]) -> tuple[str, ...]:
    """The contexts that the files have, in their order. Raises KubeconfigError."""
    return tuple(_merge(files).contexts)


def load_context(files: tuple[Path, ...], context: str | None = None) -> Access:
    """The access that a context (by default the current one) describes. Raises KubeconfigError."""
    merged = _merge(files)
    name = context or merged.current
    where = ", ".join(merged.read) or f"{files[0]} (which does not exist)"
    if not name:
        raise KubeconfigError(f"{where} has no current-context; name one with --context")
    if name not in merged.contexts:
        known = ", ".join(sorted(merged.contexts)) or "none"
        raise KubeconfigError(f'there is no context "{name}" in {where}; known: {known}')
    chosen = merged.contexts[name]
    if chosen.cluster not in merged.clusters:
        raise KubeconfigError(f'{where}: context "{name}" names cluster "{chosen.cluster}", which is not there')
    if chosen.user and chosen.user not in merged.users:
        raise KubeconfigError(f'{where}: context "{name}" names user "{chosen.user}", which is not there')
    return _access(name, chosen, merged)


def in_cluster(environ: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> Access | None:
    """The access of the pod that this process runs in; None outside of one."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    token = account / "token"
    if not host or not port or not token.is_file():
        return None
    namespace = account / "namespace"
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        name="in-cluster",
        namespace=namespace.read_text().strip() if namespace.is_file() else "default",
        ca_file=account / "ca.crt",
        token_file=token,
    )


def _merge(files: tuple[Path, ...]) -> _Merged:
    merged = _Merged()
    for path in files:
        found = _read(path)
        if found is None:
            continue
        merged.read.append(str(path))
        folder = path.absolute().parent
        for cluster in found.clusters or ():
            merged.clusters.setdefault(cluster.name, (cluster.cluster or _Cluster(), folder))
        for user in found.users or ():
            merged.users.setdefault(user.name, (user.user or _User(), folder))
        for context in found.contexts or ():
            merged.contexts.setdefault(context.name, context.context or _Context())
        merged.current = merged.current or found.current_context or ""
    return merged


def _read(path: Path) -> _File | None:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KubeconfigError(f"{path}: {error.strerror}") from error
    try:
        return msgspec.convert(yaml.load(text, yaml.CSafeLoader) or {}, _File)
    except (yaml.YAMLError, msgspec.ValidationError, RecursionError) as error:
        raise KubeconfigError(f"{path} is not a kubeconfig: {error}") from error


def _access(name: str, context: _Context, merged: _Merged) -> Access:
    cluster, cluster_folder = merged.clusters[context.cluster]
    user, user_folder = merged.users[context.user] if context.user else (_User(), Path())
    if not cluster.server:
        raise KubeconfigError(f'cluster "{context.cluster}" has no server')
    if user.auth_provider is not None and not (user.token or user.exec):
        raise KubeconfigError(f'user "{context.user}" has an auth-provider, which Kubernetes removed in 1.26; use exec')
    return Access(
        server=cluster.server.rstrip("/"),
        name=name,
        namespace=context.namespace or "default",
        tls_server_name=cluster.tls_server_name,
        insecure=cluster.insecure_skip_tls_verify,
        proxy=cluster.proxy_url,
        ca=_data(cluster.certificate_authority_data, "certificate-authority-data"),
        ca_file=_path(cluster.certificate_authority, cluster_folder),
        token=user.token,
        token_file=_path(user.token_file, user_folder),
        username=user.username,
        password=user.password,
        certificate=_data(user.client_certificate_data, "client-certificate-data"),
        certificate_file=_path(user.client_certificate, user_folder),
        key=_data(user.client_key_data, "client-key-data"),
        key_file=_path(user.client_key, user_folder),
        exec=msgspec.structs.replace(user.exec, folder=str(user_folder)) if user.exec else None,
    )


def _path(text: str | None, folder: Path) -> Path | None:
    return folder / text if text else None


def _data(text: str | None, what: str) -> bytes | None:
    if not text:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise KubeconfigError(f"{what} is not base64: {error}") from error
