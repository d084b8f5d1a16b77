"""Results of a search, as plain values, a table or a data set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Hit:
    """A row that was found.

    Attributes:
        id: of the row.
        key: of the row in the index; no other row ever has it.
        score: cosine of the global embeddings of query and row.
        late_score: of the tokens by late interaction, None where it was not asked for.
        rerank_score: of the second stage, raw; None where it was not asked for, or had nothing to look at.
        path: of the image, absolute; None for a sentence.
        metadata: the columns of the row beside these: size and modified time of an image, the text of a sentence, and
            the user's.
    """

    id: str
    key: int
    score: float
    late_score: float | None = None
    rerank_score: float | None = None
    path: Path | None = None
    metadata: Mapping[str, Value] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Value]:
        """Return all of it as one flat row; scores that were not asked for, and the key, are left out."""
        scores = {"score": self.score, "late_score": self.late_score, "rerank_score": self.rerank_score}
        asked = {name: value for name, value in scores.items() if value is not None}
        path = {} if self.path is None else {"path": str(self.path)}
        return {"id": self.id, **asked, **path, **self.metadata}


class Hits(tuple[Hit, ...]):
    """The rows that a query found, best first.

    Attributes:
        forwards: passes of the second stage's model that it took.
    """

    forwards: int

    def __new__(cls, hits: Iterable[Hit] = (), *, forwards: int = 0) -> "Hits":
        """Return hits in their order."""
        made = super().__new__(cls, hits)
        made.forwards = forwards
        return made

    def to_dicts(self) -> list[dict[str, Value]]:
        """Return a flat row a hit; see `Hit.to_dict`."""
        return [hit.to_dict() for hit in self]

    def to_pandas(self) -> "pd.DataFrame":
        """Return a table, one row a hit."""
        import pandas as pd

        return pd.DataFrame(self.to_dicts())

    def to_dataset(self) -> "Dataset":
        """Return a data set, one row a hit."""
        from datasets import Dataset

        return Dataset.from_list(self.to_dicts())


__all__ = ["Hit", "Hits"]
