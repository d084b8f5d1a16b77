"""The colour of the named thing as a table: an encoder, the same trained further, BriVLs, and an untrained tower."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...data.emoji7.dataset import load_emoji7
from ...data.files.manifest import agree_with_manifest
from ...evaluation.few_shot.colour import COLOURS, colour_accuracies, coloured_names
from ...evaluation.few_shot.draws import paired_difference, summarize
from ...evaluation.tables.few_shot import colour_table
from ...modeling_brivl.modeling_brivl import BriVLModel
from ...pipelines.embedding import embed_images
from ...processing.processing_brivl import BriVLProcessor
from ..reproduction import write_table
from .csldcp_rows import TEXT
from .draw_store import PATTERN
from .prompt_encoder import as_numpy
from .settings import ALONE, FewShotSettings, open_towers

PER_SPLIT = 8  # draws of this task for each draw a split of the other: 40 of them by default


def make_colour_table(settings: FewShotSettings, folder: Path, *, started: float) -> dict[str, object]:
    """Write the table, and return what is in `metrics.json`.

    Args:
        settings: of the table; eight times as many draws are made as `draws` says.
        folder: gets everything.
        started: `time.monotonic()` at the start of the command.

    Raises:
        FileNotFoundError, ValueError: models or options are bad, or the folder holds another table.
    """
    concepts, draws = coloured_names(), PER_SPLIT * settings.draws
    found: dict[str, dict[str, list[float]]] = {}
    digests = {}
    for tower in open_towers(settings, folder):
        digests[tower.name] = tower.encoder.digest
        texts = as_numpy(tower.encoder.embed(concepts.names, windows=1))
        images = ImagesOfConcepts(*tower.brivl) if tower.brivl else None
        found[tower.name] = colour_accuracies(concepts, texts, images, draws=draws, seed=settings.seed)
        tower.encoder.check_unchanged()
    agree_with_manifest(folder / "rows", {"models": digests, "seed": settings.seed}, shards=PATTERN)
    results: dict[str, dict[str, dict]] = {}
    for name, methods in found.items():
        for method, values in methods.items():
            row: dict[str, object] = {**summarize(values), "accuracies": [100 * value for value in values]}
            if ALONE in found and (name, method) != (ALONE, TEXT):
                row["difference"] = paired_difference(values, found[ALONE][TEXT])
            results.setdefault(name, {})[method] = row
        if "both" in methods:
            results[name]["both"]["minus_permuted"] = paired_difference(methods["both"], methods["both, permuted"])
    counts = dict(zip(COLOURS, np.bincount(concepts.colours, minlength=len(COLOURS)).tolist(), strict=True))
    floors = {"chance": 100 / len(COLOURS)}
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    notes = [
        f"{len(concepts.names)} names of emoji7, by the dominant hue of their drawings: {listed}.",
        f"{draws} draws of one name a colour; the nearest of the five names, images, or both. Nothing is trained.",
    ]
    notes += [
        f"{name}: both minus both with permuted images {{:+.2f}} ({{:.2f}} to {{:.2f}}).".format(
            rows["both"]["minus_permuted"]["mean"], *rows["both"]["minus_permuted"]["interval"]
        )
        for name, rows in results.items()
        if "both" in rows
    ]
    facts: dict[str, object] = {
        "task": "colour",
        "n": {"names": len(concepts.names), "draws": draws} | counts,
        "seed": settings.seed,
        "models": digests,
        "floors": floors,
        "results": results,
        "wall_seconds": round(time.monotonic() - started, 1),
    }
    return write_table(colour_table(results, floors, notes=notes), 2, folder, facts, comparable=False)


class ImagesOfConcepts:
    """Embeds what a concept of emoji7 looks like in the styles that are trained on: the mean of its images, once."""

    def __init__(self, model: BriVLModel, processor: BriVLProcessor) -> None:
        self._model, self._processor = model, processor
        self._rows = load_emoji7()["train"]
        self._of: dict[int, list[int]] = {}
        for number, concept_id in enumerate(self._rows["concept_id"]):
            self._of.setdefault(concept_id, []).append(number)
        self._found: dict[int, np.ndarray] = {}

    def __call__(self, concept_ids: Sequence[int]) -> np.ndarray:
        """Return (ids, d) unit rows."""
        return np.stack([self._embed(one) for one in concept_ids])

    def _embed(self, concept_id: int) -> np.ndarray:
        if concept_id not in self._found:
            images = (self._rows[number]["image"] for number in self._of[concept_id])
            mean = as_numpy(embed_images(self._model, self._processor, images)).mean(axis=0)
            self._found[concept_id] = mean / np.linalg.norm(mean)
        return self._found[concept_id]


__all__ = ["ImagesOfConcepts", "make_colour_table"]
