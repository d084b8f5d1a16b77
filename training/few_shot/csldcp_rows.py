"""The rows of table 2 on CSLDCP: which methods there are, and how each predicts the test texts from a draw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...data.csldcp.load import CSLDCP, SPLITS
from ...data.files.atomic import atomic_file
from ...data.files.hashing import hash_model
from ...evaluation.few_shot.draws import accuracy
from ...evaluation.few_shot.floors import FLOORS, PROTOTYPES, TfidfFloors
from ...evaluation.tables.few_shot import CHOSEN, NEAREST
from .masked_lm import MaskedLMClassifier, MaskedLMSettings, open_masked_lm, word_ids
from .prompt_encoder import PromptEncoder
from .prompt_tuning import PENALTIES, PromptClassifier, Prompts, TuningSettings, tune_prompts
from .visual_prototypes import nearest_images, permute_prototypes

Predict = Callable[[int, int], np.ndarray]
TEXT, VISUAL, BOTH, PERMUTED, NOISE = "text only", "visual only", "both", "both, permuted", "both, noise images"
RETRIEVED = "both, and images retrieved for the text"


@dataclass(frozen=True)
class Row:
    """A method.

    Attributes:
        group: whose it is, such as the name of a model.
        name: of the method in the group.
        predict: takes split and draw, returns (texts,) predicted classes.
        digest: identifies the weights of its model.
        choose: takes split and draw, returns the penalty that was chosen on texts that are not drawn; None: all is
            fixed.
    """

    group: str
    name: str
    predict: Predict
    digest: str = ""
    choose: Callable[[int, int], float] | None = None

    @property
    def key(self) -> str:
        """The name of the row among all."""
        return f"{self.group}, {self.name}"


@dataclass(eq=False)
class Tower:
    """A text tower with the embeddings of all texts that the draws of a table need, each made once.

    Attributes:
        name: in the table.
        encoder: frozen.
        data: whose texts are embedded.
        draws: of each split.
        windows: of a text at most.
        cache: file that keeps the embeddings, so that a resumed run has the same.
        pool: (images, d) unit rows, where the nearest images of a text say something of it.
        use_dev: choose penalties on texts that are not drawn, too.
    """

    name: str
    encoder: PromptEncoder
    data: CSLDCP
    draws: int
    windows: int
    cache: Path
    pool: Tensor | None = None
    use_dev: bool = False

    @cached_property
    def embeddings(self) -> tuple[Tensor, dict[str, Tensor]]:
        """(n, d) unit rows of the test texts, and by text those of all shots."""
        drawn = {
            self.data.train[split].texts[index]
            for split in range(SPLITS)
            for draw in range(self.draws)
            for index in self.data.draw(split, draw)
        }
        shots, texts = sorted(drawn), self.data.test.texts
        found = kept(self.cache, lambda: self.encoder.embed([*texts, *shots], windows=self.windows))
        found = found.to(self.encoder.model.device)
        tested = len(self.data.test.texts)
        return found[:tested], dict(zip(shots, found[tested:], strict=True))

    def shots(self, split: int, draw: int) -> Tensor:
        """Return (classes, d) unit rows of the text of each class in a draw."""
        texts = self.data.train[split].texts
        return torch.stack([self.embeddings[1][texts[index]] for index in self.data.draw(split, draw)])

    @cached_property
    def train(self) -> list[Tensor]:
        """Of each split (texts, d) unit rows of all texts; only choices on texts that are not drawn need them."""
        texts = [text for split in self.data.train for text in split.texts]
        cache = self.cache.with_name(f"{self.encoder.digest}-train.npy")
        found = kept(cache, lambda: self.encoder.embed(texts, windows=self.windows))
        return list(found.to(self.encoder.model.device).split([len(split.texts) for split in self.data.train]))

    @cached_property
    def names(self) -> Tensor:
        """(classes, d) unit rows of the names in the sentence that context vectors start as."""
        with torch.no_grad():
            return self.encoder.encode(*Prompts(self.encoder, self.data.classes, context_length=0)())

    def prototype_rows(self) -> list[Row]:
        """Return rows of the nearest prototype, where nothing is trained: the floors' own information.

        In a second group of rows texts and shots lose the mean of the shots, and names that of the names: embeddings
        of encoders crowd around a common direction.
        """

        def predict(name: str, *, centred: bool) -> Predict:
            def nearest(split: int, draw: int) -> np.ndarray:
                texts, shots, names = self.embeddings[0], self.shots(split, draw), self.names
                if centred:
                    mean = shots.mean(dim=0)
                    texts, shots, names = (
                        F.normalize(one, dim=-1) for one in (texts - mean, shots - mean, names - names.mean(dim=0))
                    )
                prototypes = dict(zip(PROTOTYPES, (shots, names, F.normalize(shots + names, dim=-1)), strict=True))
                return (texts @ prototypes[name].T).argmax(dim=1).cpu().numpy()

            return nearest

        groups = {self.name: False, f"{self.name}, centred": True}
        return [
            Row(group, NEAREST + name, predict(name, centred=centred), self.encoder.digest)
            for group, centred in groups.items()
            for name in PROTOTYPES
        ]

    def tuned_rows(self, name: str, settings: TuningSettings, visual: Tensor | None = None) -> list[Row]:
        """Return the row of prompt tuning, and with `use_dev` another, of which each draw chooses the penalty.

        That takes the one of `PENALTIES` whose classifier, trained on the draw, is right most often on the texts of
        the same training set that are not drawn; of equal ones the first.

        Args:
            name: of the row. "visual only" has no text prototypes, `RETRIEVED` alone looks texts up in the pool.
            settings: of the tuning.
            visual: (classes, d) unit rows.
        """
        device = self.encoder.model.device
        pool = self.pool.to(device) if self.pool is not None and name == RETRIEVED else None

        def images(texts: Tensor) -> Tensor | None:
            return None if pool is None else nearest_images(texts, pool)

        def tune(split: int, draw: int, settings: TuningSettings) -> PromptClassifier:
            prompts = Prompts(self.encoder, self.data.classes, context_length=settings.context_length)
            classifier = PromptClassifier(
                self.encoder,
                None if name == VISUAL else prompts,
                None if visual is None else visual.to(device),
                with_images=pool is not None,
            ).to(device)
            labels, shots = torch.arange(len(self.data.classes)), self.shots(split, draw)
            tune_prompts(classifier, shots, labels.to(device), settings, images(shots))
            return classifier

        @torch.no_grad()
        def classify(classifier: PromptClassifier, texts: Tensor) -> np.ndarray:
            return classifier(texts, images(texts)).argmax(dim=1).cpu().numpy()

        @lru_cache(maxsize=1)
        def choose(split: int, draw: int) -> tuple[float, PromptClassifier]:
            rest = self.data.remaining(split, draw)
            texts, labels = self.train[split][rest], self.data.train[split].labels[rest]
            tuned = {one: tune(split, draw, replace(settings, residual_penalty=one)) for one in PENALTIES}
            return max(tuned.items(), key=lambda item: accuracy(classify(item[1], texts), labels))

        def fixed(split: int, draw: int) -> np.ndarray:
            return classify(tune(split, draw, settings), self.embeddings[0])

        def chosen(split: int, draw: int) -> np.ndarray:
            return classify(choose(split, draw)[1], self.embeddings[0])

        digest = self.encoder.digest
        own = Row(self.name, CHOSEN + name, chosen, digest, choose=lambda split, draw: choose(split, draw)[0])
        return [Row(self.name, name, fixed, digest), *[own] * self.use_dev]

    def ablation_rows(
        self, settings: TuningSettings, visual: Tensor | None, noise: Tensor | None, *, seed: int
    ) -> list[Row]:
        """Return the rows of a BriVL: with `visual` and `noise` prototypes (classes, d), or text alone without."""
        chosen: dict[str, Tensor | None] = {TEXT: None}
        if visual is not None and noise is not None:
            permuted = permute_prototypes(visual, seed=seed)
            chosen |= {VISUAL: visual, BOTH: visual, PERMUTED: permuted, NOISE: noise}
            if self.pool is not None:
                chosen[RETRIEVED] = visual
        return [row for name, one in chosen.items() for row in self.tuned_rows(name, settings, one)]


def kept(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """Return what a file holds; it is made where it is not there."""
    if not path.exists():
        with atomic_file(path) as unfinished, unfinished.open("wb") as file:
            np.save(file, make().cpu().numpy(), allow_pickle=False)
    return torch.from_numpy(np.load(path, allow_pickle=False))


@dataclass(eq=False)
class Floors:
    """Rows of TF-IDF, each split's fitted once."""

    data: CSLDCP
    fitted: dict[int, TfidfFloors] = field(default_factory=dict)

    def rows(self) -> list[Row]:
        """Return a row for each floor."""
        return [Row("TF-IDF", NEAREST + name, self._predict(name)) for name in FLOORS]

    def _predict(self, name: str) -> Predict:
        def predict(split: int, draw: int) -> np.ndarray:
            if split not in self.fitted:
                self.fitted[split] = TfidfFloors(self.data, split)
            return self.fitted[split].predict(name, draw)

        return predict


def masked_lm_row(name: str, data: CSLDCP, words: Sequence[str], settings: MaskedLMSettings) -> Row:
    """Return the row of PET or of p-tuning on a masked language model.

    Args:
        name: folder or hub id.
        words: of the classes.
        settings: the seed is moved by split and draw.

    Raises:
        MissingModelError, ValueError: as `open_masked_lm` and `word_ids`.
    """
    model, tokenizer = open_masked_lm(name)
    ids = word_ids(tokenizer, words)
    start = {key: value.clone() for key, value in model.state_dict().items()}

    def predict(split: int, draw: int) -> np.ndarray:
        model.load_state_dict(start)
        own = replace(settings, seed=settings.seed + 1000 * split + draw)
        classifier = MaskedLMClassifier(model, tokenizer, ids, own)
        train = data.train[split]
        chosen = data.draw(split, draw)
        classifier.fit([train.texts[index] for index in chosen], train.labels[chosen])
        return classifier.predict(data.test.texts)

    return Row(Path(name).name, {"pet": "PET", "ptuning": "p-tuning"}[settings.method], predict, hash_model(model))


__all__ = [
    "BOTH",
    "NOISE",
    "PERMUTED",
    "RETRIEVED",
    "TEXT",
    "VISUAL",
    "Floors",
    "Predict",
    "Row",
    "Tower",
    "kept",
    "masked_lm_row",
]
