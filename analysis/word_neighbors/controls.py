"""Spaces whose neighbours are known: turned, drawn at random, of other words, or noisy."""

import numpy as np


def rotate(rows: np.ndarray, *, seed: int) -> np.ndarray:
    """Return unit rows (n, d) turned by a random rotation: the neighbours stay."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((rows.shape[1],) * 2))
    return _units(rows @ turn.astype(np.float32))


def random_like(rows: np.ndarray, *, seed: int) -> np.ndarray:
    """Return as many random unit rows (n, d): neighbours are shared by chance alone."""
    return _units(np.random.default_rng(seed).standard_normal(rows.shape, np.float32))


def permute(rows: np.ndarray, *, seed: int) -> np.ndarray:
    """Return the rows (n, d) in a random order, so that each word has the vector of another one."""
    return rows[np.random.default_rng(seed).permutation(len(rows))]


def add_noise(rows: np.ndarray, scale: float, *, seed: int) -> np.ndarray:
    """Return unit rows (n, d) of rows to which random vectors about `scale` long are added."""
    noise = np.random.default_rng(seed).standard_normal(rows.shape, np.float32)
    return _units(rows + noise * np.float32(scale / np.sqrt(rows.shape[1])))


def _units(rows: np.ndarray) -> np.ndarray:
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


__all__ = ["add_noise", "permute", "random_like", "rotate"]
