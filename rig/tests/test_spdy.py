"""SPDY frames: whatever way the bytes come, the frames are the same."""

import zlib

from hypothesis import given
from hypothesis import strategies as st

from rig.node.spdy import FIN, SYN_STREAM, Frame, Reader, Writer, dictionary


def test_the_dictionary_is_the_one_of_the_draft():
    assert len(dictionary()) == 1423
    # The checksum that a compressor writes for it (RFC 1950, FDICT).
    assert zlib.adler32(dictionary()) == 0xE3C6A7C2


def opening(pack: "zlib._Compress", stream: int, headers: dict[str, str]) -> bytes:
    block = len(headers).to_bytes(4, "big")
    for word in (word for pair in headers.items() for word in pair):
        block += len(word).to_bytes(4, "big") + word.encode()
    body = stream.to_bytes(4, "big") + bytes(6) + pack.compress(block) + pack.flush(zlib.Z_SYNC_FLUSH)
    return (1 << 31 | 3 << 16 | SYN_STREAM).to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


@given(st.lists(st.integers(1, 40), max_size=20), st.binary(max_size=60))
def test_frames_do_not_depend_on_how_bytes_come(cuts: list[int], data: bytes):
    pack = zlib.compressobj(zdict=dictionary())
    wire = (
        opening(pack, 1, {"streamtype": "stdin"}) + opening(pack, 3, {"streamtype": "stdout", "x": "y"}) + Writer.data(1, data, last=True)
    )
    reader, frames, rest = Reader(), list[Frame](), wire
    for cut in [*cuts, len(wire)]:
        frames += reader.feed(rest[:cut])
        rest = rest[cut:]
    assert [frame.headers.get("streamtype") for frame in frames] == ["stdin", "stdout", None]
    assert [frame.stream for frame in frames] == [1, 3, 1]
    assert (frames[2].body, frames[2].flags) == (data, FIN)
