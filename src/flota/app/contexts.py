"""Clusters as they are, whoever serves them: read once, planned as if Flota did, nothing written or installed."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from random import random

from msgspec import structs

from flota.clock import SystemClock
from flota.fleet.fleet import Fleet
from flota.fleet.problem import Problem
from flota.kube.client import Client
from flota.kube.kubeconfig import Access, config_files, load_context
from flota.kube.transport import Transport
from flota.plan import ObjectRef
from flota.report.told import TOLD, Reading, Told, told
from flota.report.view import View
from flota.routing.planner import Planner
from flota.sources.kube import KubeSource, Target

READ_S = 15.0
"""Seconds that reading may take; what is missing then is said to be."""
_UNKNOWN = "192.0.2.{}"
"""Stands for the address of a Gateway that has none yet, so that its routes can be explained (RFC 5737: never a real one)."""


def view_of_contexts(names: Sequence[str], environ: Mapping[str, str]) -> View:
    """The clusters of these kubeconfig contexts, each called like its context. Raises KubeconfigError."""
    files = config_files(environ)
    return asyncio.run(_view([load_context(files, name) for name in dict.fromkeys(names)]))


async def _view(accesses: Sequence[Access]) -> View:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        targets = []
        for access in accesses:
            transport = Transport(access, clock, agent=f"flota/{version('flota')}", compress=True)
            targets.append(Target(access.name, await stack.enter_async_context(Client(transport, jitter=random, attempts=2))))
        source = KubeSource(targets, clock, random, statuses=frozenset(TOLD), every_class=True)
        await source.read_once(READ_S)
        said = dict(_told(source))
        source.addresses.set(_addresses(source.fleet.get(), said))
        source.publish()
        fleet = structs.replace(source.fleet.get(), own_proxies=frozenset(source.readers))
        problems = source.problems.get()
        dark = {name: f"it can't be read: {each.trouble.message}" for name, each in source.readers.items() if each.trouble is not None}
    return View(
        fleet=fleet,
        plan=Planner().plan(fleet),
        now=clock.now(),
        problems=problems,
        refusals=frozenset(each for each in problems if not each.retry and each.kind != "ServiceExport"),
        read=Reading(told=said, unseen=tuple(_unseen(problems)), dark=dark),
    )


def _told(source: KubeSource) -> Iterator[tuple[ObjectRef, Told]]:
    for cluster, collections in source.statuses.get().items():
        for collection, statuses in collections.items():
            for key, status in statuses.items():
                yield ObjectRef(cluster, TOLD[collection], *key), told(status)


def _addresses(fleet: Fleet, said: Mapping[ObjectRef, Told]) -> Mapping[tuple[str, str, str], tuple[str, ...]]:
    """The addresses that Gateways have, by their status."""
    found = {}
    for cluster in fleet.clusters.values():
        for number, (namespace, name) in enumerate(sorted(cluster.gateways)):
            held = said.get(ObjectRef(cluster.name, "Gateway", namespace, name), Told()).addresses
            known = tuple(each.value for each in held if each.type == "IPAddress")
            found[cluster.name, namespace, name] = known or (_UNKNOWN.format(number % 254 + 1),)
    return found


def _unseen(problems: Sequence[Problem]) -> Iterator[str]:
    """What could not be read: kinds that may not be, servers that don't answer."""
    for each in problems:
        if each.retry and (not each.name or each.kind == "APIServer"):
            yield f"{each.cluster}: {each.message}"
