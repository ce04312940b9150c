"""Who we are to an API server: tokens, certificates and commands that give them, read again when they change or expire."""

import asyncio
import base64
import json
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from msgspec import Struct

from flota.kube.errors import ApiError
from flota.kube.kubeconfig import Access, Exec
from flota.kube.timing import Clock

REREAD_S = 10.0
"""Files are looked at again after this long: a service account's token is exchanged some minutes before it expires."""
EXEC_S = 60.0
"""How long a command that gives credentials may take."""
EARLY = timedelta(seconds=20)
"""Credentials are renewed this long before they expire."""
_EXEC_VERSIONS = tuple(f"client.authentication.k8s.io/{version}" for version in ("v1", "v1beta1"))


class Identity(Struct, frozen=True):
    """Everything that shows who we are and whom we trust, as bytes. Equal identities may share connections."""

    authorization: str | None = None
    """The header."""
    certificate: bytes | None = None
    key: bytes | None = None
    ca: bytes | None = None


class _ExecStatus(Struct, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None


class _ExecCredential(Struct):
    status: _ExecStatus | None = None


class Credentials:
    """The identity for one API server, as it is now."""

    def __init__(self, access: Access, clock: Clock, environ: Mapping[str, str] | None = None) -> None:
        self._access = access
        self._clock = clock
        self._environ = dict(os.environ if environ is None else environ)
        self._identity: Identity | None = None
        self._read_at = 0.0
        self._exec: _ExecStatus | None = None
        self._lock = asyncio.Lock()

    async def current(self) -> Identity | ApiError:
        """The identity to use now; the identical one while nothing changed."""
        async with self._lock:
            if self._access.exec is not None and not self._exec_valid():
                given = await _run(self._access.exec, self._access, self._environ)
                if isinstance(given, ApiError):
                    return given
                self._exec, self._identity = given, None
            now = self._clock.monotonic()
            if self._identity is None or now - self._read_at >= REREAD_S:
                try:
                    found = self._found()
                except OSError as error:
                    return self._identity or ApiError(0, "NoCredentials", f"{error.filename}: {error.strerror}")
                self._read_at = now
                if found != self._identity:
                    self._identity = found
            return self._identity

    def refused(self) -> None:
        """The server did not accept the identity: find a new one next time."""
        self._exec = None
        self._read_at = float("-inf")

    def _exec_valid(self) -> bool:
        if self._exec is None:
            return False
        until = self._exec.expiration_timestamp
        return until is None or until - EARLY > self._clock.now()

    def _found(self) -> Identity:
        access = self._access
        given = self._exec or _ExecStatus()
        certificate = given.client_certificate_data.encode() if given.client_certificate_data else None
        key = given.client_key_data.encode() if given.client_key_data else None
        return Identity(
            authorization=self._authorization(given),
            certificate=certificate or access.certificate or _content(access.certificate_file),
            key=key or access.key or _content(access.key_file),
            ca=access.ca or _content(access.ca_file),
        )

    def _authorization(self, given: _ExecStatus) -> str | None:
        access = self._access
        token = given.token
        if not token and access.token_file is not None:  # as in client-go, the file counts more than the text
            token = access.token_file.read_text().strip()
        token = token or access.token
        if token:
            return f"Bearer {token}"
        if access.username:
            pair = f"{access.username}:{access.password or ''}"
            return "Basic " + base64.b64encode(pair.encode()).decode()
        return None


def _content(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None else None


async def _run(command: Exec, access: Access, environ: Mapping[str, str]) -> _ExecStatus | ApiError:
    """What the command gives; never waits for a person to type something."""
    if command.api_version not in _EXEC_VERSIONS:
        return _failed(f"exec {command.command}: apiVersion {command.api_version} is not known; use {' or '.join(_EXEC_VERSIONS)}")
    env = {**environ, **{each.name: each.value for each in command.env or ()}, "KUBERNETES_EXEC_INFO": _info(command, access)}
    program = command.command
    if command.folder and "/" in program and not program.startswith("/"):
        program = str(Path(command.folder) / program)
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            program, *(command.args or ()), env=env, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        return _failed(f"exec {command.command}: {error.strerror}. {command.install_hint or ''}".strip())
    try:
        async with asyncio.timeout(EXEC_S):
            out, complaint = await process.communicate()
    except TimeoutError:
        return _failed(f"exec {command.command} gave no credentials within {EXEC_S:g} s")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        return _failed(f"exec {command.command} ended with {process.returncode}: {complaint[-300:].decode('utf-8', 'replace').strip()}")
    return _given(command, out)


def _given(command: Exec, out: bytes) -> _ExecStatus | ApiError:
    try:
        status = msgspec.json.decode(out, type=_ExecCredential).status
    except msgspec.DecodeError as error:
        return _failed(f"exec {command.command} did not print an ExecCredential: {error}")
    if status is None or not (status.token or (status.client_certificate_data and status.client_key_data)):
        return _failed(f"exec {command.command} printed neither a token nor a certificate with its key")
    return status


def _info(command: Exec, access: Access) -> str:
    spec: dict[str, object] = {"interactive": False}
    if command.provide_cluster_info:
        cluster = {
            "server": access.server,
            "tls-server-name": access.tls_server_name,
            "insecure-skip-tls-verify": access.insecure or None,
            "certificate-authority-data": base64.b64encode(access.ca or _content(access.ca_file) or b"").decode() or None,
            "proxy-url": access.proxy,
        }
        spec["cluster"] = {name: value for name, value in cluster.items() if value is not None}
    return json.dumps({"apiVersion": command.api_version, "kind": "ExecCredential", "spec": spec})


def _failed(message: str) -> ApiError:
    return ApiError(0, "NoCredentials", message)
