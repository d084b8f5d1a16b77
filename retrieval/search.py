"""Search an index with a sentence or an image.

engine = SearchEngine.open("runs/photos_index")
for hit in engine.search(text="下雨天的街道", k=12):
    print(hit.score, hit.path)
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from transformers import PreTrainedModel

from ..data.files.hashing import hash_model
from ..data.rows.vocabulary import check_vocabulary
from ..pipelines.device import choose_device
from ..pipelines.embedding import embed_image_tokens, embed_images, embed_text_tokens, embed_texts
from ..pipelines.open_brivl import hash_processor, open_brivl
from ..processing.image_decoding import ImageSource
from ..processing.processing_brivl import BriVLProcessor
from ..processing.regions.feature_extractor import RegionFeatureExtractor
from .filters import Filter
from .hits import Hit, Hits
from .indexes.base import VectorIndex
from .rerank import Reranker, rerank_hits
from .store.folder import TOKEN_COLUMNS, DamagedShardError, IndexFolder
from .store.manifest import EmbeddedBy, IndexManifest
from .vector_index import open_vector_index

NOT_METADATA = {"key", "id", "path", "embedding", *TOKEN_COLUMNS}
CANDIDATES, LATE_CANDIDATES = 50, 100
TRIES = 5  # to read a state that a writer does not replace meanwhile


class SearchEngine:
    """Find the rows of an index that a sentence or an image is nearest to; `open` makes one.

    Args:
        folder: the rows.
        index: their vectors.
        model: folder or hub id of the BriVL that embeds queries; by default the one that made the index.
        device: of it; by default a GPU if there is one.
    """

    def __init__(
        self, folder: IndexFolder, index: VectorIndex, *, model: str | None = None, device: str | None = None
    ) -> None:
        self.folder, self.index, self.device = folder, index, choose_device(device)
        self._name = model or folder.manifest.embedded_by.model
        self._opened: tuple[PreTrainedModel, BriVLProcessor] | None = None
        self._detector: RegionFeatureExtractor | None = None
        self._tokens = folder.open_tokens()  # mapped now: a compaction may take the files away
        self._rerankers = dict[str, Reranker]()  # the last one

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        model: str | None = None,
        device: str | None = None,
        skip_damaged: bool = False,
    ) -> "SearchEngine":
        """Return a search engine over the state that an index folder has now.

        Args:
            folder: of `build_index`; it may be read-only.
            model: where the model lies now, if not where it was; it must be the same.
            device: of the model.
            skip_damaged: leave damaged shards out; `engine.folder.damaged` names them.

        Raises:
            FileNotFoundError, ValueError: there is no index, or its manifest or a shard is damaged.
        """
        for _ in range(TRIES):
            opened = IndexFolder.open(Path(folder), skip_damaged=skip_damaged)
            try:
                opened.check_files()
                return cls(opened, open_vector_index(opened, save=False), model=model, device=device)
            except DamagedShardError:
                if IndexManifest.read(Path(folder)) == opened.manifest:  # else a compaction took the shards away
                    raise
        raise ValueError(f"{folder} is changed again and again while it is opened; try again.")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.index)

    def search(
        self,
        *,
        text: str | None = None,
        image: ImageSource | None = None,
        k: int = 12,
        filter: str | Filter | None = None,
        late: bool | None = None,
        rerank: str | Path | Reranker | None = None,
        candidates: int | None = None,
        weight: float | None = None,
    ) -> Hits:
        """Return the k rows nearest to a sentence or an image, best first; all if there are fewer.

        With `late` the first of them are put in the order of late interaction between their tokens and the query's.
        With `rerank` an MLMM orders the first `candidates`, one pass through its encoder each; those that it has no
        regions of come last.

        Args:
            text, image: one of them.
            k: 1 or more.
            filter: condition on the metadata, such as `path like 'photos/2024/%' and size > 100000`; see `Filter`.
            late: None: if the index has tokens, as one of a model with late interaction has.
            rerank: folder or hub id of an MLMM for retrieval, or one that is open. Regions come from the index, or are
                found on the fly where the MLMM names a detector.
            candidates: for the MLMM, at least k; 50 by default. Late interaction looks at 100, or at these if more.
            weight: of the stages before the MLMM, 0 to 1, see `combine`; None: its order alone counts.

        Raises:
            ImageDecodingError: the image cannot be decoded.
            FileNotFoundError: there is no such MLMM.
            ValueError: none or both of text and image, a blank text, k below 1, a filter that cannot be read or names
                an unknown column, another model than the one that made the index, by both hashes, `late` of an index
                without tokens, or a second stage that has no text or no images to look at.
        """
        check_count("k", k)
        check_count("candidates", k if candidates is None else candidates)
        if rerank is not None and (text is None or self.folder.manifest.kind != "images"):
            raise ValueError("A second stage reads a text and looks at images: search an index of images by a text.")
        has_tokens = self.folder.manifest.late_dim is not None
        if late and not has_tokens:
            raise ValueError("The index has no tokens for late interaction: build it by a model that has it.")
        late = has_tokens if late is None else late
        if rerank is None and (candidates is not None or weight is not None):
            raise ValueError("candidates and weight are of a second stage; say which MLMM is to rerank.")
        if (text is None) == (image is None):
            raise ValueError("Give either a text or an image to search with.")
        query, tokens = self._embed(text, image, late)
        wanted = k if rerank is None else max(k, candidates or CANDIDATES)
        hits = self.search_vectors(query, k=max(wanted, LATE_CANDIDATES) if late else wanted, filter=filter)[0]
        if tokens is not None:
            hits = Hits(self._order_late(hits, tokens)[:wanted])
        if rerank is None or text is None:
            return hits
        return rerank_hits(hits, text, self._open_reranker(rerank), weight=weight, k=k)

    def search_vectors(self, queries: np.ndarray, *, k: int = 12, filter: str | Filter | None = None) -> list[Hits]:
        """Return the k rows nearest to each query, best first; all if there are fewer.

        Args:
            queries: (q, d) float32 unit rows, as `embed_texts` gives them.
            k, filter: as of `search`.

        Raises:
            ValueError: queries of another size, k below 1, or a filter that cannot be read or names an unknown column.
        """
        check_count("k", k)
        where = Filter.parse(filter) if isinstance(filter, str) else filter
        if where is not None:
            where.check(self.schema)
        scores, keys = self.index.search(np.ascontiguousarray(queries, np.float32), k, where=where)
        return [self._hits(score[key >= 0], key[key >= 0]) for score, key in zip(scores, keys, strict=True)]

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return the embeddings of sentences: (n, d) float32 unit rows."""
        model, processor = self._open()
        self._check_texts(texts)
        return embed_texts(model, processor, texts).numpy()

    def embed_images(self, images: Sequence[ImageSource]) -> np.ndarray:
        """Return the embeddings of images: (n, d) float32 unit rows."""
        model, processor = self._open()
        return embed_images(model, processor, images, detector=self._detector).numpy()

    @property
    def schema(self) -> pa.Schema:
        """Columns that a filter may name."""
        fields = [field for field in self.folder.schema if field.name not in NOT_METADATA - {"id", "path"}]
        return pa.schema(fields)

    def _hits(self, scores: np.ndarray, keys: np.ndarray) -> Hits:
        rows = self.index.fetch(keys).to_pylist()
        base = self.folder.base
        return Hits(
            Hit(
                row["id"],
                row["key"],
                float(score),
                path=None if row.get("path") is None else base / row["path"],
                metadata={name: value for name, value in row.items() if name not in NOT_METADATA},
            )
            for score, row in zip(scores, rows, strict=True)
        )

    def _embed(self, text: str | None, image: ImageSource | None, late: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the embedding (1, d) of a query, and its tokens (l, late_dim) for late interaction."""
        if text is not None:
            if not late:
                return self.embed_texts([text]), None
            self._check_texts([text])
            found, [tokens] = embed_text_tokens(*self._open(), [text])
        else:
            assert image is not None
            if not late:
                return self.embed_images([image]), None
            found, [tokens] = embed_image_tokens(*self._open(), [image], detector=self._detector)
        return found.numpy(), tokens

    def _order_late(self, hits: Hits, tokens: np.ndarray) -> list[Hit]:
        assert self._tokens is not None
        has_tokens = np.isin([hit.key for hit in hits], self._tokens.keys)  # not those of shards that are left out
        scored = [hit for hit, has in zip(hits, has_tokens, strict=True) if has]
        scores = self._tokens.scores(tokens, [hit.key for hit in scored])
        ordered = [replace(scored[at], late_score=float(scores[at])) for at in np.argsort(-scores, kind="stable")]
        return ordered + [hit for hit, has in zip(hits, has_tokens, strict=True) if not has]

    def _check_texts(self, texts: Sequence[str]) -> None:
        _, processor = self._open()
        check_vocabulary(processor.tokenizer, texts, max_tokens=processor.max_text_length, what="queries")

    def _open_reranker(self, reranker: str | Path | Reranker) -> Reranker:
        if isinstance(reranker, Reranker):
            return reranker
        if (name := str(reranker)) not in self._rerankers:
            self._rerankers = {name: Reranker.from_pretrained(name, index=self.folder.folder, device=self.device)}
        return self._rerankers[name]

    def _open(self) -> tuple[PreTrainedModel, BriVLProcessor]:
        if self._opened is None:
            model, processor = open_brivl(self._name)
            name = self.folder.manifest.embedded_by.detector
            self._detector = None if name is None else RegionFeatureExtractor.from_pretrained(name, device=self.device)
            self.folder.check_model(
                EmbeddedBy(
                    self._name,
                    hash_model(model),
                    hash_processor(processor),
                    name,
                    None if self._detector is None else self._detector.model_hash,
                )
            )
            self._opened = model.to(device=self.device), processor  # type: ignore[call-arg]  # a decorator hides self
        return self._opened


def check_count(name: str, count: int) -> None:
    """Raise ValueError for a number of rows below 1."""
    if count < 1:
        raise ValueError(f"{name} is {count}; it must be 1 or more.")


__all__ = ["SearchEngine"]
