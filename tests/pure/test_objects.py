"""Which objects are in effect: last good versions, duplicates, moves, memory over a restart."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from flota.sources.memory import SourceMemory
from flota.sources.objects import TOP, ObjectTable
from flota.sources.readings import read_file
from flota.sources.yaml import finish

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def service(name: str = "shop", port: object = 80, **metadata: str) -> str:
    labels = f", labels: {{a: {metadata['label']}}}" if "label" in metadata else ""
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}{labels}}}\nspec: {{ports: [{{port: {port}}}]}}\n"


BROKEN = "a: [\n"


class Table:
    """An ObjectTable with shorthands; cluster `us` owns every file."""

    def __init__(self, memory: SourceMemory | None = None) -> None:
        self.table = ObjectTable(memory or SourceMemory())

    def put(self, path: str, *documents: str, now: datetime = NOW, hold: bool = False) -> bool:
        self.read(path, *documents)
        return self.table.settle(now, hold=hold)

    def read(self, path: str, *documents: str, clusters: tuple[str, ...] = ("us",)) -> None:
        data = "---\n".join(documents).encode()
        self.table.put(path, clusters, finish(read_file(data, self.table.known)))

    def drop(self, path: str, *, hold: bool = False) -> bool:
        self.table.drop(path)
        return self.table.settle(NOW, hold=hold)

    def get(self, name: str = "shop", cluster: str = "us") -> Any:
        return self.table.objects(cluster, "services").get(("default", name))

    def port(self, name: str = "shop") -> int:
        return int(self.get(name).spec.ports[0].port)

    def problems(self) -> list[tuple[str, str, str | None, int | None]]:
        return [(p.reason, p.name, p.file, p.line) for p in self.table.problems()]


@pytest.fixture
def table() -> Table:
    return Table()


def test_an_object_is_stamped_when_first_seen(table: Table) -> None:
    assert table.put("us/a.yaml", service())
    assert table.get().metadata.creation_timestamp == NOW
    assert table.get().metadata.generation == 1


def test_a_change_of_content_counts_a_generation_one_of_labels_or_of_comments_does_not(table: Table) -> None:
    table.put("us/a.yaml", service())
    first = table.get()
    assert not table.put("us/a.yaml", "# hello\n" + service(), now=LATER)
    assert table.get() is first
    table.put("us/a.yaml", service(label="b"), now=LATER)
    assert (table.get().metadata.generation, table.get().metadata.labels) == (1, {"a": "b"})
    table.put("us/a.yaml", service(port=81), now=LATER)
    assert (table.get().metadata.generation, table.get().metadata.creation_timestamp) == (2, NOW)


def test_mappings_without_a_change_stay_the_identical_ones(table: Table) -> None:
    table.put("us/a.yaml", service("a"), service("b"))
    services, routes = table.table.objects("us", "services"), table.table.objects("us", "http_routes")
    kept = table.get("b")
    table.put("us/a.yaml", service("a", 81), service("b"))
    assert table.table.objects("us", "services") is not services
    assert table.table.objects("us", "http_routes") is routes
    assert table.get("b") is kept


def test_a_refused_object_keeps_its_last_admitted_version_and_only_its_own(table: Table) -> None:
    table.put("us/a.yaml", service("a"), service("b"))
    table.put("us/a.yaml", service("a", 99999), service("b", 81))
    assert (table.port("a"), table.port("b")) == (80, 81)
    assert table.problems() == [("Invalid", "a", "us/a.yaml", 4)]
    assert "last admitted version stays" in table.table.problems()[0].message
    table.put("us/a.yaml", service("a", 82), service("b", 81))
    assert table.port("a") == 82
    assert table.problems() == []


def test_an_object_never_admitted_is_not_there(table: Table) -> None:
    table.put("us/a.yaml", service("a", 99999))
    assert table.get("a") is None
    assert "last admitted" not in table.table.problems()[0].message


@pytest.mark.parametrize("broken", [BROKEN, "kind: X\n", "a: \x01\n"])
def test_a_file_that_cannot_be_read_keeps_all_its_objects(table: Table, broken: str) -> None:
    table.put("us/a.yaml", service("a"), service("b"))
    table.put("us/a.yaml", service("a", 81), broken)
    assert (table.port("a"), table.port("b")) == (80, 80)
    assert [problem[0] for problem in table.problems()] == ["Unreadable"]
    table.put("us/a.yaml", service("b", 82))
    assert table.get("a") is None
    assert table.port("b") == 82
    assert table.problems() == []


def test_of_the_same_object_twice_the_first_seen_stays_until_it_goes(table: Table) -> None:
    table.put("us/b.yaml", service(port=80))
    table.put("us/a.yaml", "# x\n" + service(port=81))
    assert table.port() == 80
    assert table.problems() == [("Duplicate", "shop", "us/a.yaml", 2)]
    assert "us/b.yaml:1" in table.table.problems()[0].message
    table.put("us/b.yaml", service(port=82))
    assert table.port() == 82
    before = table.get().metadata.creation_timestamp
    table.drop("us/b.yaml")
    assert table.port() == 81
    assert table.get().metadata.creation_timestamp == before
    assert table.problems() == []


def test_twice_in_one_file_the_unchanged_one_stays(table: Table) -> None:
    table.put("us/a.yaml", service(port=80))
    table.put("us/a.yaml", service(port=81), service(port=80))
    assert table.port() == 80
    assert table.problems() == [("Duplicate", "shop", "us/a.yaml", 1)]


def test_a_refused_document_that_was_never_admitted_does_not_take_the_place_of_a_good_one(table: Table) -> None:
    table.put("us/a.yaml", service(port=99999))
    table.put("us/b.yaml", service(port=80))
    assert table.port() == 80
    assert sorted(problem[0] for problem in table.problems()) == ["Duplicate", "Invalid"]


@pytest.mark.parametrize("old_first", [True, False])
def test_moving_an_object_to_another_file_changes_nothing(table: Table, old_first: bool) -> None:
    table.put("us/a.yaml", service(), service("x"))
    moved = table.get()
    steps = [("us/a.yaml", (service("x"),)), ("us/b.yaml", (service("z"), service()))]
    for path, documents in steps if old_first else reversed(steps):
        table.put(path, *documents, now=LATER, hold=True)
        assert table.get() is moved
    table.table.settle(LATER)
    assert table.get() is moved
    assert table.problems() == []
    assert table.table.where("us", "Service", "default", "shop") == ("us/b.yaml", 6)


def test_renaming_a_file_and_changing_it_keeps_the_age(table: Table) -> None:
    table.put("us/a.yaml", service())
    table.drop("us/a.yaml", hold=True)
    table.put("us/b.yaml", service(port=81), now=LATER)
    assert (table.port(), table.get().metadata.creation_timestamp) == (81, NOW)
    assert table.get().metadata.generation == 2


def test_a_deletion_is_held_and_then_done(table: Table) -> None:
    table.put("us/a.yaml", service())
    assert not table.drop("us/a.yaml", hold=True)
    assert table.port() == 80
    assert table.table.settle(NOW)
    assert table.get() is None
    assert table.table.memory().objects == ()


def test_versions_of_an_api_are_the_same_object(table: Table) -> None:
    who = "from: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: a}}], to: [{{group: '', kind: Service}}]"
    grant = f"apiVersion: gateway.networking.k8s.io/{{}}\nkind: ReferenceGrant\nmetadata: {{{{name: g}}}}\nspec: {{{{{who}}}}}\n"
    table.put("us/a.yaml", grant.format("v1"))
    table.put("us/b.yaml", grant.format("v1beta1"))
    assert table.problems() == [("Duplicate", "g", "us/b.yaml", 1)]


def test_a_file_may_belong_to_several_clusters(table: Table) -> None:
    table.read("both/a.yaml", service(), clusters=("us", "eu"))
    table.table.settle(NOW)
    assert table.get(cluster="us") == table.get(cluster="eu")
    table.table.move("both/a.yaml", ("eu",))
    table.table.settle(NOW)
    assert table.get(cluster="us") is None
    assert table.get(cluster="eu") is not None


def test_what_belongs_to_no_cluster_is_told(table: Table) -> None:
    table.read("x.yaml", service(), "apiVersion: a.example/v1\nkind: Foreign\nmetadata: {name: x}\n", clusters=(TOP,))
    table.put("us/f.yaml", "apiVersion: flota.dev/v1alpha1\nkind: ClusterSet\nmetadata: {name: s}\n"
              "spec: {clusters: [{name: us, region: r}]}\n")  # fmt: skip
    assert [problem[:3] for problem in table.problems()] == [("Misplaced", "s", "us/f.yaml"), ("Misplaced", "shop", "x.yaml")]
    assert table.table.ignored() == {"a.example/Foreign": 1}


def test_problems_stay_the_identical_tuple_until_one_changes(table: Table) -> None:
    table.put("us/a.yaml", service(port=99999))
    before = table.table.problems()
    table.put("us/b.yaml", service("b"))
    assert table.table.problems() is before


def restarted(table: Table) -> Table:
    encoded = msgspec.msgpack.encode(table.table.memory())
    return Table(msgspec.msgpack.decode(encoded, type=SourceMemory))


def test_age_and_generation_outlive_a_restart(table: Table) -> None:
    table.put("us/a.yaml", service(), service("b"))
    table.put("us/a.yaml", service(port=81), service("b"))
    again = restarted(table)
    again.put("us/c.yaml", service("b", 82), service(port=81), now=LATER)
    assert again.get() == table.get()
    assert (again.get("b").metadata.creation_timestamp, again.get("b").metadata.generation) == (NOW, 2)


@pytest.mark.parametrize("documents", [(BROKEN,), (service(port=99999), service("b", 99999))])
def test_last_admitted_versions_outlive_a_restart(table: Table, documents: tuple[str, ...]) -> None:
    table.put("us/a.yaml", service(port=81), service("b"))
    again = restarted(table)
    again.put("us/a.yaml", *documents, now=LATER)
    assert again.get() == table.get()
    assert again.get("b") == table.get("b")
    assert again.problems() != []
    once_more = restarted(again)
    once_more.put("us/a.yaml", *documents, now=LATER)
    assert once_more.get() == table.get()


def test_the_first_seen_is_known_after_a_restart(table: Table) -> None:
    table.put("us/z.yaml", service(port=80))
    table.put("us/a.yaml", service(port=81))
    again = restarted(table)
    again.read("us/a.yaml", service(port=81))
    again.put("us/z.yaml", service(port=80))
    assert again.port() == 80


def test_a_clock_that_is_set_back_makes_nobody_the_elder(table: Table) -> None:
    """Over a restart too: of routes and Gateways in conflict the older one wins."""
    table.put("us/a.yaml", service("a"), now=LATER)
    table.put("us/b.yaml", service("b"), now=NOW)
    again = restarted(table)
    again.put("us/a.yaml", service("a"), now=NOW)
    again.put("us/b.yaml", service("b"), now=NOW)
    again.put("us/c.yaml", service("c"), now=NOW)
    ages = [again.get(name).metadata.creation_timestamp for name in "abc"]
    assert ages == sorted(set(ages)), ages


def test_what_went_while_down_is_gone(table: Table) -> None:
    table.put("us/a.yaml", service())
    again = restarted(table)
    again.put("us/b.yaml", service("b"))
    assert again.get() is None


def test_memory_that_is_no_longer_admitted_is_let_go(table: Table) -> None:
    table.put("us/a.yaml", service())
    old = table.table.memory()
    bad = msgspec.structs.replace(old, objects=(msgspec.structs.replace(old.objects[0], text=b"["),))
    again = Table(bad)
    again.put("us/a.yaml", BROKEN)
    assert again.get() is None
    assert [problem[0] for problem in again.problems()] == ["Unreadable"]
