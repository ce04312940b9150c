"""`flota serve`: the control plane of a Kubernetes cluster, until it is told to stop."""

import asyncio
import os
import sys
from datetime import UTC, datetime

import msgspec

from flota.cli.failure import Failure
from flota.cli.output import write


def run_serve(contexts: tuple[str, ...], namespace: str | None) -> int:
    """Until SIGINT or SIGTERM. Raises Failure when it can't start."""
    from flota.app.serving import access_of, place_of, serve
    from flota.kube.kubeconfig import KubeconfigError
    from flota.settings import read

    if len(contexts) > 1:
        raise Failure("flota serve is for one cluster: name one --context", 2)
    try:
        settings = read()
        access = access_of(os.environ, contexts[0] if contexts else None)
    except msgspec.ValidationError as error:
        raise Failure(f"a setting in the environment (FLOTA_…) is wrong: {error}", 2) from error
    except KubeconfigError as error:
        raise Failure(str(error), 2) from error
    try:
        asyncio.run(serve(access, place_of(os.environ, settings, access, namespace), settings, _tell))
    except OSError as error:
        raise Failure(f"cannot serve: {error.strerror or error}") from error
    return 0


def _tell(text: str) -> None:
    write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}")
    sys.stdout.flush()
