"""The balancer: follows the Services of all clusters of a rig, keeps the kernel's rules, writes load-balancer addresses."""

import asyncio
from collections.abc import Sequence

import aiohttp

from rig.api import Api, Object, RefusedError
from rig.balancer.ruleset import Way, ruleset
from rig.balancer.services import Key, give, key, ways
from rig.build import Say, UnavailableError
from rig.relay import Publisher
from rig.space import ADDRESS

_TRANSIENT = (RefusedError, aiohttp.ClientError, TimeoutError)


class Member:
    """One cluster's Services."""

    def __init__(self, api: Api, prefix: str) -> None:
        """`prefix`: the first three numbers of its load-balancer addresses."""
        self.api = api
        self.prefix = prefix
        self.services: dict[Key, Object] = {}
        self.slices: dict[Key, Object] = {}
        self.given: dict[Key, str] = {}

    def ways(self) -> list[Way]:
        """As its objects are now."""
        by_service: dict[Key, list[Object]] = {}
        for each in self.slices.values():
            owner = (each["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
            if owner:
                by_service.setdefault((each["metadata"]["namespace"], owner), []).append(each)
        return ways(self.services.values(), by_service, self.given)


class Balancer:
    """One per rig: its rules hold the Services of all clusters."""

    def __init__(self, members: Sequence[Member], say: Say, publisher: Publisher | None = None) -> None:
        """`publisher` shows load-balancer addresses to the host."""
        self._members = members
        self._publisher = publisher
        self._say = say
        self._changed = asyncio.Event()
        self._text = ""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(), name="rules")
            for member in self._members:
                for path, held in (("/api/v1/services", member.services), ("/apis/discovery.k8s.io/v1/endpointslices", member.slices)):
                    group.create_task(self._follow(member, path, held), name=f"watch of {path}")

    async def _follow(self, member: Member, path: str, held: dict[Key, Object]) -> None:
        while True:
            try:
                listed: set[Key] = set()
                async for event, item in member.api.watch(path):
                    if event == "SYNCED":
                        for gone in held.keys() - listed:
                            del held[gone]
                    elif event == "DELETED":
                        held.pop(key(item), None)
                    else:
                        listed.add(key(item))
                        held[key(item)] = item
                    self._changed.set()
            except _TRANSIENT:
                await asyncio.sleep(0.3)

    async def _keep(self) -> None:
        while True:
            await self._changed.wait()
            # Changes come in bursts; one look serves them all.
            await asyncio.sleep(0.01)
            self._changed.clear()
            for member in self._members:
                member.given = give(member.services.values(), member.given, member.prefix)
            text = ruleset((way for member in self._members for way in member.ways()), ADDRESS)
            if text != self._text:
                await _load(text)
                self._text = text
            if self._publisher is not None:
                given = {address for member in self._members for address in member.given.values()}
                open_ways = (way for member in self._members for way in member.ways() if way.endpoints)
                await self._publisher.show({(way.address, way.port) for way in open_ways if way.address in given and way.protocol == "tcp"})
            # Only after the rules are there: who reads the address may call it at once.
            for member in self._members:
                await self._tell(member)

    async def _tell(self, member: Member) -> None:
        for who, service in list(member.services.items()):
            wanted = [{"ip": member.given[who], "ipMode": "VIP"}] if who in member.given else []
            if service["status"].get("loadBalancer", {}).get("ingress", []) == wanted:
                continue
            path = f"/api/v1/namespaces/{who[0]}/services/{who[1]}/status"
            try:
                patch = {"status": {"loadBalancer": {"ingress": wanted}}}
                member.services[who] = await member.api.call("PATCH", path, patch, "application/merge-patch+json")
            except _TRANSIENT as error:
                # Gone meanwhile, or refused; its next change brings it here again.
                self._say(f"Service {'/'.join(who)}: {error}")


async def _load(text: str) -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("nft", "-f", "-", stdin=pipe, stderr=pipe)
    _, errors = await process.communicate(text.encode())
    if process.returncode:
        raise UnavailableError(f"nft refused the rules: {errors.decode('utf-8', 'replace')[:500]}")
