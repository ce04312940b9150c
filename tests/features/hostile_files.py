"""Files that no honest editor writes: each must be refused, quickly, in little memory, and hold up nobody."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"


def _bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return HEAD + "\n".join(lines) + "\n"


def _merge_bomb(levels: int) -> str:
    lines = ["a0: &a0 {k0: x}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], k{n}: *a{n - 1}}}" for n in range(1, levels)]
    return HEAD + "\n".join(lines) + "\n"


def _document(number: int, body: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x{number}}}\ndata:\n{body}"


TEXTS: dict[str, str | bytes] = {
    "bomb": _bomb(20),
    "merge-bomb": _merge_bomb(20),
    "text-bomb": HEAD + "a: &a " + "x" * 100_000 + "\nb: [" + "*a," * 10_000 + "]\n",
    "cycle": HEAD + "a: &a [*a]\n",
    "brackets": "[" * 20_000,
    "closed-brackets": "[" * 20_000 + "]" * 20_000,
    "braces": '{"a":' * 20_000,
    "dashes": "- " * 700_000,
    "questions": "? " * 700_000,
    "indents": "\n".join(" " * n + "a:" for n in range(1500)),
    "tag": HEAD + "a: !!python/object/apply:os.system [reboot]\n",
    "own-tag": HEAD + "a: !include /etc/passwd\n",
    "tag-directives": "".join(f"%TAG !t{n}! tag:x,2000:\n" for n in range(60_000)) + "---\na: 1\n",
    "late-tag-directives": '--- "a"\n' + "".join(f"%TAG !t{n}! x\n" for n in range(80_000)) + "--- b\n",
    "directives-behind-blanks": "\n" * 8_000_000 + "%YAML 1.2\n" * 10,
    "versions": "%YAML 1.2\n" * 150_000 + "---\na: 1\n",
    "scalar": HEAD + "a: " + "x" * 5_000_000 + "\n",
    "quoted-scalar": HEAD + 'a: "' + "\\x41" * 2_000_000 + '"\n',
    "block-scalar": HEAD + "a: |\n" + "  x\n" * 1_500_000,
    "key": HEAD + "k" * 1_000_000 + ": 1\n",
    "number": HEAD + "a: " + "9" * 1_400_000 + "\ndata: 1\n",
    "many-values": HEAD + "a: [" + "[]," * 450_000 + "]\n",
    "many-keys": HEAD + "\n".join(f"k{n}:" for n in range(180_000)) + "\n",
    "many-anchors": HEAD + "\n".join(f"k{n}: &k{n} 1" for n in range(90_000)) + "\n",
    "many-documents": "---\n" * 2_000_000,
    "many-comments": "# x\n---\n" * 1_000_000,
    "many-breaks": "\n" * 8_000_000 + "a",
    "blanks": " " * 8_000_000 + "a",
    "tabs": "\t" * 8_000_000 + "a",
    "crs": "\r" * 8_000_000 + "a",
    "one-line-of-comment": "#" * 8_000_000 + "\nb",
    "latin-1": HEAD.encode() + b"a: caf\xe9\n",
    "late-latin-1": HEAD.encode() + b"a: " + b"x" * 1_000_000 + b"\xe9\n",
    "utf-16": HEAD.encode("utf-16"),
    "utf-32": HEAD.encode("utf-32"),
    "overlong": HEAD.encode() + b"a: \xc0\xaf\n",
    "surrogate": HEAD.encode() + b"a: \xed\xa0\x80\n",
    "nul": HEAD.encode() + b"a: \0\n",
    "zeros": b"\0" * 5_000_000,
    "random": os.urandom(3_000_000),
    "huge": b"x" * 200_000_000,
    "elf": b"\x7fELF" + bytes(range(256)) * 4000,
    "large-good-then-broken": "---\n".join(_document(n, "  k: [" + "1," * 20 + "]\n") for n in range(5000)) + "---\na: [\n",
    "list": "apiVersion: v1\nkind: List\nitems: []\n",
    "no-name": "apiVersion: v1\nkind: ConfigMap\n",
    "doubled-key": HEAD + "data: {a: b, a: c}\n",
    "deep-in-a-kind": HEAD + "data: " + '{"a": ' * 90 + "1" + "}" * 90 + "\n",
    "many-unknown-fields": HEAD + "\n".join(f"field{n}: 1" for n in range(20_000)) + "\n",
    "many-faults": "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: x}\nspec:\n  rules:\n"
    + "  - {matches: [{path: {type: Nope, value: x}}], backendRefs: [{nme: y, port: 99999999}]}\n" * 3_000,
    "slow-pattern": "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: x}\nspec:\n  hostnames: ["
    + ", ".join(['"' + "a-" * 100_000 + '"'] * 5) + "]\n",
}  # fmt: skip


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(path.parent)  # such a path may have only 108 characters
        try:
            bound.bind(path.name)
        finally:
            os.chdir(here)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _long_loop(path: Path) -> None:
    other = path.with_name("other-" + path.name)
    path.symlink_to(other.name)
    other.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.symlink_to("nothing.txt")


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


def _pipe_behind_a_link(path: Path) -> None:
    os.mkfifo(path.with_name(path.name + ".pipe"))
    path.symlink_to(path.name + ".pipe")


def _kernel_file(path: Path) -> None:
    path.symlink_to("/proc/kmsg" if Path("/proc/kmsg").exists() else "/proc/self/mem")


def _own_memory(path: Path) -> None:
    path.symlink_to("/proc/self/mem")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


MAKERS: dict[str, Callable[[Path], None]] = {
    each.__name__.strip("_").replace("_", "-"): each
    for each in (_pipe, _socket, _loop, _long_loop, _dangling, _device, _terminal, _pipe_behind_a_link, _kernel_file, _own_memory, _sparse)
}
NAMES = (*TEXTS, *MAKERS)


def write(name: str, path: Path) -> None:
    """Put the hostile file of that name at `path`."""
    if name in MAKERS:
        MAKERS[name](path)
        return
    content = TEXTS[name]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
