"""The keys and values of an LMDB file from anywhere, read without its library.

LMDB maps a file into memory and follows the numbers in it as they are: of a file that is cut, or of which a byte was
changed, the process dies by a signal. Here every number is checked before it is followed, so that such a file is an
error. Read are data.mdb files of 64-bit little-endian machines, their main database, without writing or locking.

A file is pages of one size, numbered from 0. The first two are *meta* pages, the one of the later transaction counts.
A tree of *branch* and *leaf* pages follows, whose nodes are sorted by key; a large value has *overflow* pages.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..files.bounded import check_regular

HEADER = struct.Struct("<QHHHH")  # page number, unused, flags, end of the offsets of nodes, begin of the nodes
# Magic, version, address, size, the tree of free pages, that of the values, last page, transaction
META = struct.Struct("<IIQQ" + "IHHQQQQQ" * 2 + "QQ")
NODE = struct.Struct("<HHHH")  # size of the value in two parts, flags, size of the key
MAGIC, VERSION = 0xBEEFC0DE, 1
BRANCH, LEAF, OVERFLOW, META_PAGE = 1, 2, 4, 8
BIG_VALUE, PLAIN_VALUE = 1, 0
PAGE_SIZES = [2**power for power in range(8, 17)]
NO_PAGE = 2**64 - 1
MAX_DEPTH = 32
MAX_VALUE_BYTES = 2**28


class LmdbError(ValueError):
    """A file is no LMDB, or damaged."""


class _Node(NamedTuple):
    key: bytes
    number: int  # of the page below, or of the first page of a big value
    value: bytes | None  # None where there are pages of its own
    size: int


class LmdbFile:
    """An open file.

    Args:
        path: of data.mdb.

    Raises:
        OSError: it cannot be read.
        LmdbError: it is no such file, or not whole.
    """

    def __init__(self, path: Path) -> None:
        check_regular(path)
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        try:
            self._page_size, self._last_page, self._root = self._read_metas()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __iter__(self) -> Iterator[bytes]:
        """Yield all keys in their order.

        Raises:
            LmdbError: a page is damaged.
        """
        left, pending = self._last_page, [self._root] if self._root != NO_PAGE else []
        while pending:
            left -= 1
            if left < 0:
                raise LmdbError(f"{self.path} is damaged: its pages go round in a circle.")
            flags, nodes = self._read_nodes(pending.pop())
            if flags & BRANCH:
                pending += [node.number for node in reversed(nodes)]
            else:
                yield from (node.key for node in nodes)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, None if it is not there.

        Raises:
            LmdbError: a page on the way to it is damaged.
        """
        number = self._root
        for _ in range(MAX_DEPTH if number != NO_PAGE else 0):
            flags, nodes = self._read_nodes(number)
            if flags & LEAF:
                found = next((node for node in nodes if node.key == key), None)
                return None if found is None else self._read_value(found)
            # The key of the first node is not kept: it is less than all.
            number = next((node.number for node in reversed(nodes[1:]) if node.key <= key), nodes[0].number)
        if number != NO_PAGE:
            raise LmdbError(f"{self.path} is damaged: its tree has no end.")
        return None

    def _read_metas(self) -> tuple[int, int, int]:
        """Return the size of a page, the number of the last one and of the root."""
        size, found = os.fstat(self._descriptor).st_size, []
        for page_size in PAGE_SIZES:
            for offset in (0, page_size):
                data = os.pread(self._descriptor, HEADER.size + META.size, offset)
                if len(data) < HEADER.size + META.size or not HEADER.unpack_from(data)[2] & META_PAGE:
                    continue
                magic, version, _, _, stated, *_, root, last_page, transaction = META.unpack_from(data, HEADER.size)
                if (magic, version, stated) == (MAGIC, VERSION, page_size):
                    found.append((transaction, page_size, last_page, root))
        if len(found) < 2:  # one alone would be of a past transaction
            raise LmdbError(
                f"{self.path} cannot be opened as LMDB: damaged, another file, or of another kind of machine."
            )
        _, page_size, last_page, root = max(found)
        whole = (last_page + 1) * page_size
        if size < whole:
            raise LmdbError(f"{self.path} is cut: it has {size:,} of {whole:,} bytes; copy it again.")
        return page_size, last_page, root

    def _read_page(self, number: int, count: int = 1) -> bytes:
        if number + count > self._last_page + 1:
            raise LmdbError(
                f"{self.path} is damaged: a page refers to page {number}, the last one is {self._last_page}."
            )
        data = os.pread(self._descriptor, count * self._page_size, number * self._page_size)
        if len(data) < count * self._page_size or HEADER.unpack_from(data)[0] != number:
            raise LmdbError(f"{self.path} is damaged: page {number} is another one.")
        return data

    def _read_nodes(self, number: int) -> tuple[int, list[_Node]]:
        page = self._read_page(number)
        _, _, flags, lower, _ = HEADER.unpack_from(page)
        if flags & (BRANCH | LEAF) not in (BRANCH, LEAF) or not HEADER.size < lower <= len(page):
            raise LmdbError(f"{self.path} is damaged: page {number} holds no nodes.")
        offsets = struct.unpack_from(f"<{(lower - HEADER.size) // 2}H", page, HEADER.size)
        return flags, [self._read_node(page, offset, flags, number) for offset in offsets]

    def _read_node(self, page: bytes, offset: int, page_flags: int, number: int) -> _Node:
        begin = offset + NODE.size
        if begin > len(page):
            raise LmdbError(f"{self.path} is damaged: a node of page {number} lies outside of it.")
        low, high, flags, key_size = NODE.unpack_from(page, offset)
        key, rest = page[begin : begin + key_size], page[begin + key_size :]
        size = low | high << 16
        if len(key) < key_size:
            raise LmdbError(f"{self.path} is damaged: a key of page {number} lies outside of it.")
        if page_flags & BRANCH:
            return _Node(key, size | flags << 32, None, 0)
        if flags == BIG_VALUE and len(rest) >= 8:
            return _Node(key, int.from_bytes(rest[:8], "little"), None, size)
        if flags != PLAIN_VALUE or len(rest) < size:
            raise LmdbError(f"{self.path} is damaged, or holds a database in a database, at page {number}.")
        return _Node(key, 0, rest[:size], size)

    def _read_value(self, node: _Node) -> bytes:
        if node.value is not None:
            return node.value
        count = -(-(HEADER.size + node.size) // self._page_size)
        if node.size > MAX_VALUE_BYTES:
            raise LmdbError(
                f"{self.path}: a value would have {node.size:,} bytes; at most {MAX_VALUE_BYTES:,} are read."
            )
        data = self._read_page(node.number, count)
        if not HEADER.unpack_from(data)[2] & OVERFLOW:
            raise LmdbError(f"{self.path} is damaged: page {node.number} holds no value.")
        return data[HEADER.size : HEADER.size + node.size]


__all__ = ["LmdbError", "LmdbFile"]
