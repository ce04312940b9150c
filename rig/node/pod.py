"""The life of one pod on the rig's node: volumes, sandbox, containers in order, status, graceful end."""

import asyncio
import os
import shutil
from pathlib import Path

import aiohttp

from flota.local.process import Exit
from rig.api import Object, RefusedError
from rig.build import UnavailableError
from rig.node import volumes
from rig.node.container import ContainerLife
from rig.node.engine import Engine, fetched, pod_path, tokens
from rig.node.environment import Fetch, MissingError, command, environment
from rig.node.images import Image, image
from rig.node.launch import Launch, Mount, argv
from rig.node.sandbox import Sandbox, open_sandbox
from rig.node.status import ContainerState, PodFacts, status
from rig.space import ADDRESS

_REFRESH_S = 5.0
"""How often volumes are filled again; a kubelet takes up to a minute."""
_LEAST_GRACE = 2.0
"""What a container gets after its preStop hook has used the whole grace period, as from the kubelet."""
_TRANSIENT = (RefusedError, aiohttp.ClientError, TimeoutError)


class PodLife:
    """One pod from binding to its end."""

    def __init__(self, engine: Engine, pod: Object, ip: str, number: int) -> None:
        self.pod = pod
        self.host_network = bool(pod["spec"].get("hostNetwork"))
        self.ip = ADDRESS if self.host_network else ip
        self._engine = engine
        self._number = number
        self._scratch = engine.scratch / pod["metadata"]["uid"]
        self._sandbox: Sandbox | None = None
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()
        self._over = False
        self._initialized = not pod["spec"].get("initContainers")
        self._began = engine.now()
        self._tokens: dict[volumes.Token, str] = {}
        self._tokens_until = 0.0
        self._fetch: Fetch = lambda _kind, _name: None
        self.inits = {spec["name"]: self._container(spec, init=True) for spec in pod["spec"].get("initContainers", ())}
        self.mains = {spec["name"]: self._container(spec) for spec in pod["spec"]["containers"]}

    @property
    def key(self) -> str:
        meta = self.pod["metadata"]
        return f"{meta['namespace']}/{meta['name']}"

    def seen(self, pod: Object) -> None:
        """The pod as the API server has it now."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._stop.set()

    def vanished(self) -> None:
        """It is gone from the API server: nobody waits for a graceful end."""
        self.pod["metadata"]["deletionGracePeriodSeconds"] = 0
        self._stop.set()

    async def run(self) -> None:
        """From the first look at its volumes until nothing of it is left."""
        try:
            async with asyncio.TaskGroup() as group:
                publisher = group.create_task(self._publish(), name=f"status of {self.key}")
                stopper = group.create_task(self._stopper(), name=f"stop of {self.key}")
                if await self._prepared():
                    refresher = group.create_task(self._refresh(), name=f"volumes of {self.key}")
                    await self._containers(group)
                    refresher.cancel()
                self._over = self._initialized or not self._stop.is_set()
                self._noticed()
                await self._stop.wait()
                await stopper
                publisher.cancel()
        finally:
            if self._sandbox is not None:
                await self._sandbox.close()
            shutil.rmtree(self._scratch, ignore_errors=True)
        await self._gone()

    async def _prepared(self) -> bool:
        """Volumes filled and the sandbox there; tried again until then, or until it shall stop (False)."""
        wait = 0.1
        while not self._stop.is_set():
            try:
                await self._fill()
                if not self.host_network and self._sandbox is None:
                    meta = self.pod["metadata"]
                    hostname = self.pod["spec"].get("hostname") or meta["name"]
                    name = f"sandbox/{self._engine.cluster}/{meta['uid']}"
                    self._sandbox = await open_sandbox(self._engine.runner, name, hostname[:63], self.ip, self._number, self._scratch)
            except (MissingError, UnavailableError, *_TRANSIENT) as error:
                self._wait_all(f"{error}")
                await _unless(self._stop, wait)
                wait = min(1.0, wait * 1.5)
            else:
                self._wait_all("")
                return True
        return False

    async def _fill(self) -> None:
        self._scratch.mkdir(parents=True, exist_ok=True)
        api, pod = self._engine.api, self.pod
        self._fetch = await fetched(api, pod)
        if self._engine.clock.monotonic() > self._tokens_until:
            self._tokens = await tokens(api, pod)
            # As the kubelet, well before they expire.
            lifetimes = [seconds for _, seconds in self._tokens]
            self._tokens_until = self._engine.clock.monotonic() + 0.8 * min(lifetimes, default=86400)
        context = volumes.Context(pod, self.ip, self._engine.host(pod), self._fetch, self._tokens)
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        for volume in pod["spec"].get("volumes", ()):
            folder = self._scratch / "volumes" / volume["name"]
            content = volumes.content(volume, context)
            if content is not None:
                volumes.write(folder, content)
            elif "emptyDir" in volume and not folder.exists():
                folder.mkdir(parents=True)
                os.chown(folder, -1, group if group is not None else -1)
                folder.chmod(0o777)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_S)
            try:
                await self._fill()
            except (MissingError, *_TRANSIENT):
                # As the kubelet: what a running pod has stays.
                continue

    async def _containers(self, group: asyncio.TaskGroup) -> None:
        """Init containers one after the other, sidecars beside the rest, then all others at once."""
        sidecars = []
        for life in self.inits.values():
            task = group.create_task(self._live(life), name=life.name)
            if life.spec.get("restartPolicy") == "Always":
                sidecars.append(life)
            elif (await task).code != 0 or self._stop.is_set():
                return
        self._initialized = True
        self._noticed()
        if not self._stop.is_set():
            tasks = [group.create_task(self._live(life), name=life.name) for life in self.mains.values()]
            for task in tasks:
                await task
        for life in sidecars:
            await life.stop(self._grace)

    async def _live(self, life: ContainerLife) -> Exit:
        """One container, once its image and all that it refers to are there."""
        wait = 0.1
        while not self._stop.is_set():
            try:
                await self._image(life.spec)
                self._start(life)
            except (MissingError, UnavailableError) as error:
                reason = "ImagePullBackOff" if isinstance(error, UnavailableError) else "CreateContainerConfigError"
                life.state = ContainerState(reason=reason, message=str(error))
                self._noticed()
                await _unless(self._stop, wait)
                wait = min(2.0, wait * 1.5)
            else:
                return await life.run(lambda: self._start(life))
        return Exit(None)

    async def _image(self, spec: Object) -> Image:
        """May build the program; off the event loop, as that takes minutes."""
        engine, loop = self._engine, asyncio.get_running_loop()
        found = await loop.run_in_executor(None, image, spec["image"], engine.images, engine.say)
        if found is None:
            table = "rig/node/images.py has the table, --image NAME=PATH adds to it"
            raise UnavailableError(f"no program stands for image {spec['image']}: {table}")
        return found

    def _start(self, life: ContainerLife) -> tuple[tuple[str, ...], dict[str, str]]:
        """The command line and the environment of a start now. Raises MissingError."""
        spec, pod, engine = life.spec, self.pod, self._engine
        found = image(spec["image"], engine.images, engine.say) or Image(())
        env = environment(pod, spec, self.ip, engine.host(pod), found.env, self._fetch)
        security = {**(pod["spec"].get("securityContext") or {}), **(spec.get("securityContext") or {})}
        user = security.get("runAsUser", found.user)
        if security.get("runAsNonRoot") and user == 0:
            raise MissingError("a user other than root: runAsNonRoot is set, and neither the image nor the pod says which")
        layer = self._scratch / "layers" / spec["name"]
        shutil.rmtree(layer, ignore_errors=True)
        launch = Launch(
            sandbox=self._sandbox.pid if self._sandbox is not None else os.getpid(),
            layer=layer,
            mounts=(*found.mounts, *self._etc(), *volumes.mounts(spec, pod, self._scratch / "volumes")),
            words=command(spec, found.entrypoint, env),
            folder=spec.get("workingDir") or "/",
            user=user,
            group=security.get("runAsGroup", user if user == found.user else 0),
            groups=tuple({*security.get("supplementalGroups", ()), *([security["fsGroup"]] if "fsGroup" in security else [])}),
            security=security,
        )
        return argv(launch), env

    def _etc(self) -> tuple[Mount, ...]:
        """What a pod's resolver and host name are read from."""
        meta, spec = self.pod["metadata"], self.pod["spec"]
        name = spec.get("hostname") or meta["name"]
        full = f"{name}.{spec['subdomain']}.{meta['namespace']}.svc.cluster.local {name}" if spec.get("subdomain") else name
        aliases = "".join(f"{each['ip']} {' '.join(each['hostnames'])}\n" for each in spec.get("hostAliases", ()))
        domains = f"{meta['namespace']}.svc.cluster.local svc.cluster.local cluster.local"
        texts = {
            "hosts": f"127.0.0.1 localhost\n::1 localhost\n{self.ip} {full}\n{aliases}",
            "hostname": f"{name}\n",
            "resolv.conf": f"nameserver {self._engine.resolver}\nsearch {domains}\noptions ndots:5\n",
        }
        folder = self._scratch / "etc"
        folder.mkdir(exist_ok=True)
        for file, text in texts.items():
            (folder / file).write_text(text)
        return tuple(Mount(folder / file, f"/etc/{file}", file=True) for file in texts)

    async def _stopper(self) -> None:
        """Once told: preStop, then the signal, then the rest of the grace period."""
        await self._stop.wait()
        grace, clock = self._grace, self._engine.clock
        began = clock.monotonic()
        async with asyncio.TaskGroup() as group:
            for life in self.mains.values():
                group.create_task(life.before_stop(grace), name=f"preStop of {life.name}")
        left = max(grace - (clock.monotonic() - began), min(grace, _LEAST_GRACE))
        async with asyncio.TaskGroup() as group:
            for life in (*self.mains.values(), *self.inits.values()):
                group.create_task(life.stop(left), name=f"stop of {life.name}")

    @property
    def _grace(self) -> float:
        spec = self.pod["spec"].get("terminationGracePeriodSeconds", 30)
        return float(self.pod["metadata"].get("deletionGracePeriodSeconds", spec))

    async def _publish(self) -> None:
        """Write the status whenever it has changed."""
        written: Object = {}
        while True:
            self._changed.clear()
            facts = PodFacts(ADDRESS, self.ip if self._sandbox or self.host_network else None, self._began, self._initialized, self._over)
            inits = {name: life.state for name, life in self.inits.items()}
            mains = {name: life.state for name, life in self.mains.items()}
            found = status(self.pod, facts, inits, mains, self._engine.now())
            if found != written:
                try:
                    patch = {"metadata": {"uid": self.pod["metadata"]["uid"]}, "status": found}
                    await self._engine.api.call("PATCH", pod_path(self.pod, "status"), patch, "application/merge-patch+json")
                    written = found
                except _TRANSIENT:
                    # Gone, or replaced by another of the same name: the watch tells. Else it is tried again.
                    await asyncio.sleep(0.2)
                    self._changed.set()
            await self._changed.wait()

    async def _gone(self) -> None:
        """Tell the API server that nothing of the pod is left."""
        # Not another pod of the same name.
        only = {"preconditions": {"uid": self.pod["metadata"]["uid"]}}
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, **only}
        try:
            await self._engine.api.call("DELETE", pod_path(self.pod), options)
        except _TRANSIENT:
            # Deleted by force, or the API server has gone: there is nobody left to tell.
            return

    def _container(self, spec: Object, *, init: bool = False) -> ContainerLife:
        meta, engine = self.pod["metadata"], self._engine
        policy = spec.get("restartPolicy") or self.pod["spec"].get("restartPolicy", "Always")
        if init and policy == "Always" and not spec.get("restartPolicy"):
            policy = "OnFailure"
        name = f"pod/{engine.cluster}/{meta['namespace']}/{meta['name']}/{meta['uid']}/{spec['name']}"
        log = log_path(engine.logs, engine.cluster, meta["namespace"], meta["name"], spec["name"])
        log.unlink(missing_ok=True)
        return ContainerLife(engine, name, spec, self.ip, log, policy, self._noticed)

    def _wait_all(self, message: str) -> None:
        for life in (*self.inits.values(), *self.mains.values()):
            if life.state.state == "waiting":
                life.state = ContainerState(message=message)
        self._noticed()

    def _noticed(self) -> None:
        self._changed.set()


def log_path(folder: Path, cluster: str, namespace: str, pod: str, container: str) -> Path:
    """Where a container's output goes."""
    return folder / f"{cluster}_{namespace}_{pod}_{container}.log"


async def _unless(stop: asyncio.Event, seconds: float) -> None:
    """A pause that a stop cuts short."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
