"""Files are followed: every way in which editors, shells and tools change them, without a gap and without a restart."""

import asyncio
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from folder_harness import FLEET, following, make, service

from flota.fleet.drain import Drain
from flota.sources import files, readings, watch
from flota.sources.folder import Folder
from flota.sources.memory import SourceMemory
from flota.sources.yaml import finish


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "shop")


def rename_into_place(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.swp")
    temporary.write_text(text)
    temporary.replace(path)


def backup_and_write(path: Path, text: str) -> None:
    """As vim does with backups: the old file is moved away, the new one written, the old one removed."""
    backup = path.with_name(path.name + "~")
    if path.exists():
        path.rename(backup)
    path.write_text(text)
    backup.unlink(missing_ok=True)


def write_in_place(path: Path, text: str) -> None:
    path.write_text(text)


def copy_over(path: Path, text: str) -> None:
    source = path.parent.parent / "somewhere.txt"
    source.write_text(text)
    shutil.copy2(source, path)


def hard_link(path: Path, text: str) -> None:
    source = path.parent.parent / "linked.txt"
    source.unlink(missing_ok=True)
    source.write_text(text)
    path.unlink(missing_ok=True)
    os.link(source, path)


WAYS: list[Callable[[Path, str], None]] = [rename_into_place, backup_and_write, write_in_place, copy_over, hard_link]


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_to_save_a_file_goes_live(root: Path, way: Callable[[Path, str], None]) -> None:
    async with following(root) as shop:
        for port in (80, 81, 82):
            way(root / "us/a.yaml", service("a", port))
            await shop.until(lambda port=port: shop.ports() == {"a": port})  # type: ignore[misc]
        assert shop.services()["a"].metadata.generation == 3
        (root / "us/a.yaml").unlink()
        await shop.until(lambda: shop.ports() == {})
        assert shop.problems() == []


async def test_a_file_counts_when_its_writer_closes_it(root: Path) -> None:
    (root / "us/a.yaml").write_text(service("a"))
    async with following(root) as shop:
        before = shop.source.fleet.get()
        with (root / "us/a.yaml").open("w") as file:
            file.write(service("b")[:20])
            file.flush()
            await shop.always(lambda: shop.source.fleet.get() is before and shop.problems() == [], 0.1)
            file.write(service("b")[20:])
        await shop.until(lambda: set(shop.ports()) == {"b"})


async def test_new_folders_are_followed_however_fast_they_fill(root: Path) -> None:
    async with following(root) as shop:
        for number in range(30):
            deep = root / "us" / f"d{number}" / "x" / "y"
            deep.mkdir(parents=True)
            (deep / "a.yaml").write_text(service(f"s{number}"))
        await shop.until(lambda: len(shop.ports()) == 30)
        (root / "us/d7/x/y/a.yaml").write_text(service("s7", 99))
        await shop.until(lambda: shop.ports()["s7"] == 99)
        shutil.rmtree(root / "us/d7")
        await shop.until(lambda: len(shop.ports()) == 29)
        (root / "us/d8").rename(root / "eu/d8")
        await shop.until(lambda: (len(shop.ports()), shop.ports("eu")) == (28, {"s8": 80}))
        (root / "eu/d8/x/y/a.yaml").write_text(service("s8", 5))
        await shop.until(lambda: shop.ports("eu") == {"s8": 5})
        (root / "eu/d8").rename(root / "eu/d9")
        (root / "eu/d9/x/y/a.yaml").write_text(service("s8", 6))
        await shop.until(lambda: shop.ports("eu") == {"s8": 6})


@pytest.mark.parametrize("old_first", [True, False])
async def test_moving_objects_between_files_leaves_no_gap(root: Path, old_first: bool) -> None:
    (root / "us/a.yaml").write_text("---\n".join(service(f"s{number}") for number in range(50)))
    async with following(root) as shop:
        objects = shop.services()
        watcher = asyncio.create_task(shop.always(lambda: shop.services() == objects, 0.3))
        await asyncio.sleep(0)
        writes = [
            lambda: (root / "us/a.yaml").write_text(service("s0")),
            lambda: (root / "us/b.yml").write_text("---\n".join(service(f"s{number}") for number in range(1, 50))),
        ]
        for write in writes if old_first else reversed(writes):
            write()
        await watcher
        assert all(each is objects[name] for name, each in shop.services().items())
        assert shop.problems() == []


async def test_a_change_costs_what_it_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    real = readings.parse

    def counted(text: bytes) -> object:
        parsed.append(text)
        return real(text)

    documents = [service(f"s{number}") for number in range(1000)]
    (root / "us/a.yaml").write_text("---\n".join(documents))
    async with following(root) as shop:
        monkeypatch.setattr(readings, "parse", counted)
        documents[500] = service("s500", 81)
        (root / "us/a.yaml").write_text("---\n".join(documents))
        await shop.until(lambda: shop.ports()["s500"] == 81)
        assert parsed == [documents[500].encode()]
        parsed.clear()
        (root / "us/b.yaml").write_text("---\n".join(reversed(documents)))
        (root / "us/a.yaml").unlink()
        await shop.until(lambda: shop.source.folder.table.where("us", "Service", "default", "s0") == ("us/b.yaml", 4996))
        assert parsed == []


async def test_renaming_files_and_folders_changes_nothing(root: Path) -> None:
    (root / "us/x").mkdir()
    (root / "us/x/a.yaml").write_text(service("a"))
    async with following(root) as shop:
        fleet = shop.source.fleet.get()
        table = shop.source.folder.table
        for new in ("us/y", "us/z", "us/z2"):
            (root / (table.where("us", "Service", "default", "a") or ("",))[0]).parent.rename(root / new)
            await shop.until(lambda new=new: table.where("us", "Service", "default", "a") == (f"{new}/a.yaml", 1))  # type: ignore[misc]
        (root / "us/z2/a.yaml").rename(root / "us/b.yml")
        await shop.until(lambda: table.where("us", "Service", "default", "a") == ("us/b.yml", 1))
        assert shop.source.fleet.get() is fleet


async def test_a_burst_becomes_few_updates(root: Path) -> None:
    async with following(root) as shop:
        seen = 0

        async def count() -> None:
            nonlocal seen
            while True:
                await shop.source.fleet.changed()
                seen += 1

        counter = asyncio.create_task(count())
        await asyncio.sleep(0)
        for number in range(300):
            (root / f"us/{number}.yaml").write_text(service(f"s{number}"))
        await shop.until(lambda: len(shop.ports()) == 300)
        counter.cancel()
        assert seen < 100


async def test_a_broken_file_keeps_its_objects_and_says_where(root: Path) -> None:
    (root / "us/a.yaml").write_text(service("a"))
    async with following(root) as shop:
        (root / "us/a.yaml").write_text(service("a", 81) + "---\na: [\n")
        (root / "us/b.yaml").write_text(service("b", 99999))
        await shop.until(lambda: len(shop.problems()) == 2)
        assert shop.ports() == {"a": 80}
        assert [(p.file, p.line, p.cluster) for p in shop.source.problems.get()] == [("us/a.yaml", 7, "us"), ("us/b.yaml", 4, "us")]
        (root / "us/a.yaml").write_text(service("a", 82))
        (root / "us/b.yaml").write_text(service("b"))
        await shop.until(lambda: shop.ports() == {"a": 82, "b": 80} and shop.problems() == [])


async def test_rights_taken_and_given_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is acted, since root may read everything."""
    (root / "us/a.yaml").write_text(service("a"))
    real = os.open

    def guarded(path: Path, flags: int) -> int:
        if not path.stat().st_mode & 0o400:
            raise PermissionError(13, "Permission denied")
        return real(path, flags)

    monkeypatch.setattr(files.os, "open", guarded)
    async with following(root) as shop:
        (root / "us/a.yaml").chmod(0)
        (root / "us/a.yaml").write_text(service("a", 81))
        await shop.until(lambda: shop.problems() == [("Unreadable", "us/a.yaml")])
        assert "no permission" in shop.source.problems.get()[0].message
        assert shop.ports() == {"a": 80}
        (root / "us/a.yaml").chmod(0o600)
        await shop.until(lambda: shop.ports() == {"a": 81} and shop.problems() == [])


async def test_the_cluster_set_is_followed(root: Path) -> None:
    (root / "us/a.yaml").write_text(service("a"))
    async with following(root) as shop:
        (root / "deep/er/ap").mkdir(parents=True)
        (root / "deep/er/ap/a.yaml").write_text(service("ap"))
        text = FLEET + "  - {name: ap, region: ap-south, manifests: deep/er/ap}\n"
        (root / "fleet.yaml").write_text(text)
        await shop.until(lambda: shop.ports("ap") == {"ap": 80})
        (root / "deep/er/ap/a.yaml").write_text(service("ap", 81))
        await shop.until(lambda: shop.ports("ap") == {"ap": 81})
        (root / "fleet.yaml").write_text(text.replace("name: us, region: us-east", "name: us2, region: us-east, manifests: us"))
        await shop.until(lambda: "us2" in shop.source.fleet.get().clusters)
        assert "us" not in shop.source.fleet.get().clusters
        assert shop.ports("us2") == {"a": 80}
        (root / "fleet.yaml").write_text("broken: [")
        await shop.until(lambda: shop.problems() == [("Unreadable", "fleet.yaml")])
        assert shop.ports("us2") == {"a": 80}
        (root / "fleet.yaml").write_text(FLEET)
        await shop.until(lambda: shop.ports("us") == {"a": 80} and "ap" not in shop.source.fleet.get().clusters)
        assert shop.problems() == []


async def test_a_cluster_set_that_is_gone_takes_no_cluster_down(root: Path) -> None:
    (root / "us/a.yaml").write_text(service("a"))
    async with following(root) as shop:
        (root / "fleet.yaml").unlink()
        await shop.until(lambda: [reason for reason, _ in shop.problems()] == ["NoClusterSet"])
        assert set(shop.source.fleet.get().clusters) == {"us", "eu"}
        (root / "us/a.yaml").write_text(service("a", 81))
        await shop.until(lambda: shop.ports() == {"a": 81})
        (root / "fleet.yaml").write_text(FLEET.replace("  - {name: eu, region: eu-west}\n", ""))
        await shop.until(lambda: set(shop.source.fleet.get().clusters) == {"us"} and shop.problems() == [])


async def test_a_clusters_folder_may_be_renamed_without_a_gap(root: Path) -> None:
    (root / "us/a.yaml").write_text(service("a"))
    renamed = FLEET.replace("{name: us, region: us-east}", "{name: us, region: us-east, manifests: usa}")
    async with following(root) as shop:
        for old, new, text in (("us", "usa", renamed), ("usa", "us", FLEET)):
            (root / old).rename(root / new)
            await shop.until(lambda: [reason for reason, _ in shop.problems()] == ["Unreadable"])
            (root / "fleet.yaml").write_text(text)
            await shop.always(lambda: shop.ports() == {"a": 80}, 0.3)
            await shop.until(lambda: shop.problems() == [])


async def test_a_clusters_folder_that_is_moved_away_keeps_its_objects_until_it_is_back(root: Path) -> None:
    (root / "us/a.yaml").write_text(service("a"))
    async with following(root) as shop:
        (root / "us").rename(root / "us.old")
        await shop.until(lambda: shop.problems() == [("Unreadable", "us")])
        assert shop.ports() == {"a": 80}
        (root / "us").mkdir()
        (root / "us/a.yaml").write_text(service("a", 81))
        await shop.until(lambda: shop.ports() == {"a": 81} and shop.problems() == [])
        (root / "us/a.yaml").write_text(service("a", 82))
        await shop.until(lambda: shop.ports() == {"a": 82})


def renamed(folder: str) -> str:
    return FLEET.replace("{name: us, region: us-east}", f"{{name: us, region: us-east, manifests: {folder}}}")


async def test_a_folder_that_is_not_there_yet_takes_no_object_away(root: Path) -> None:
    (root / "us/a.yaml").write_text(service("a"))
    (root / "us/b.yaml").write_text(service("b"))
    async with following(root) as shop:
        (root / "fleet.yaml").write_text(renamed("usa"))
        await shop.until(lambda: shop.problems() == [("Unreadable", "usa")])
        await shop.always(lambda: shop.ports() == {"a": 80, "b": 80}, 0.1)
        (root / "usa").mkdir()  # a copy begins with an empty folder
        await shop.until(lambda: "no manifest lies in it yet" in shop.source.problems.get()[0].message)
        await shop.always(lambda: shop.ports() == {"a": 80, "b": 80}, 0.1)
        rename_into_place(root / "usa/a.yaml", service("a", 81))
        await shop.until(lambda: shop.ports() == {"a": 81} and shop.problems() == [])
        assert shop.services()["a"].metadata.generation == 2


async def test_a_clusters_files_that_are_removed_empty_it(root: Path) -> None:
    (root / "us/a.yaml").write_text(service("a"))
    async with following(root) as shop:
        shutil.rmtree(root / "us")
        await shop.until(lambda: shop.ports() == {})
        assert shop.problems() == [("Unreadable", "us")]


@pytest.mark.parametrize("way", ["moved away", "named newly"])
async def test_a_folder_that_went_while_nothing_ran_keeps_its_objects(root: Path, way: str) -> None:
    (root / "us/a.yaml").write_text(service("a"))
    async with following(root) as shop:
        memory = shop.source.memory()
    if way == "moved away":
        (root / "us").rename(root / "us.old")
    else:
        (root / "fleet.yaml").write_text(renamed("usa"))
    async with following(root, memory) as shop:
        assert shop.ports() == {"a": 80}
        assert [reason for reason, _ in shop.problems()] == ["Unreadable"]
        folder = root / ("us" if way == "moved away" else "usa")
        folder.mkdir()
        (folder / "b.yaml").write_text(service("b"))
        await shop.until(lambda: shop.ports() == {"b": 80} and shop.problems() == [])
    async with following(root, memory) as shop:
        assert shop.ports() == {"b": 80}


async def test_links_to_files_are_followed_wherever_they_lead_and_links_to_folders_are_not(root: Path) -> None:
    """As Kubernetes mounts a ConfigMap: a link through a folder that is swapped."""
    mount = root.parent / "mount"
    for version, port in (("v1", 80), ("v2", 81)):
        (mount / version).mkdir(parents=True)
        (mount / version / "a.yaml").write_text(service("a", port))
    (mount / "..data").symlink_to("v1")
    (root / "us/a.yaml").symlink_to("../../mount/..data/a.yaml")
    (root / "us/folder").symlink_to(mount / "v1")
    async with following(root) as shop:
        assert shop.ports() == {"a": 80}
        assert shop.problems() == []
        (mount / "..tmp").symlink_to("v2")
        (mount / "..tmp").replace(mount / "..data")
        await shop.until(lambda: shop.ports() == {"a": 81})
        (mount / "v2/a.yaml").write_text(service("a", 82))
        await shop.until(lambda: shop.ports() == {"a": 82})
        (root / "us/b.yaml").symlink_to(root / "fleet.txt")
        await shop.until(lambda: shop.problems() == [("Unreadable", "us/b.yaml")])
        (root / "fleet.txt").write_text(service("b"))
        await shop.until(lambda: shop.ports() == {"a": 82, "b": 80} and shop.problems() == [])


def test_a_file_that_is_still_being_read_when_the_cluster_set_arrives(root: Path) -> None:
    (root / "z.yaml").write_text("")
    folder = Folder(root, SourceMemory())
    assert folder.accepts("z.yaml")
    assert folder.accepts("fleet.yaml")
    folder.put("fleet.yaml", finish(folder.read("fleet.yaml")))
    assert folder.settle(datetime.now(UTC)) == ("eu", "us")
    assert folder.layout.name == "shop"


async def test_other_names_are_ignored(root: Path) -> None:
    async with following(root) as shop:
        (root / "us/.flota").mkdir()
        for name in (".hidden.yaml", "a.yaml~", "#a.yaml#", ".#a.yaml", "a.yaml.bak", "a.json", "a.YAML", ".flota/a.yaml"):
            (root / "us" / name).write_text(service("ignored"))
        (root / "us/seen.yml").write_text(service("seen"))
        await shop.until(lambda: shop.ports() == {"seen": 80})
        assert shop.problems() == []


async def test_a_full_queue_means_a_look_at_everything(root: Path) -> None:
    async with following(root) as shop:
        limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        (root / "us/late.yaml").write_text(service("late"))
        await shop.until(lambda: shop.ports() == {"late": 80})
        noise = [root / "us/n0.txt", root / "us/n1.txt"]
        for path in noise:
            path.write_text("x")
        for number in range(limit):  # no turn of the event loop in here, so nobody takes the events out
            noise[number % 2].chmod(0o600 + number % 3)
        (root / "us/new.yaml").write_text(service("new"))
        (root / "us/late.yaml").unlink()
        await shop.until(lambda: shop.ports() == {"new": 80})


async def test_without_watches_changes_are_looked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watch.Inotify, "add_watch", refuse)
    async with following(root) as shop:
        await shop.until(lambda: [reason for reason, _ in shop.problems()] == ["WatchLimit"])
        assert "fs.inotify.max_user_watches" in shop.source.problems.get()[0].message
        (root / "us/x").mkdir()
        (root / "us/x/a.yaml").write_text(service("a"))
        await shop.until(lambda: shop.ports() == {"a": 80})
        (root / "us/x/a.yaml").unlink()
        await shop.until(lambda: shop.ports() == {})


async def test_what_else_makes_up_the_fleet_goes_live(root: Path) -> None:
    async with following(root) as shop:
        drains = (Drain("us", datetime.now(UTC)),)
        shop.source.drains.set(drains)
        await shop.until(lambda: shop.source.fleet.get().drains is drains)


async def test_age_and_last_good_version_outlive_a_restart(root: Path) -> None:
    (root / "us/a.yaml").write_text(service("a"))
    async with following(root) as shop:
        before, memory = shop.services(), shop.source.memory()
    (root / "us/a.yaml").write_text("broken: [")
    async with following(root, memory) as shop:
        assert shop.services() == before
        assert shop.problems() == [("Unreadable", "us/a.yaml")]
