"""Pictures and sentences to embeddings, in batches, with any BriVL-like model and processor."""

from collections.abc import Iterable, Iterator
from itertools import batched_compat

