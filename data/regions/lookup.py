"""The row of the regions of an image, where files name it by different paths."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..files.image_ids import compose


@dataclass
class RegionFinder:
    """Index of the regions of the images that a file names, by their name or the end of their path, in NFC or NFD.

    Attributes:
        places: `image_id` -> row of the regions.
        source: the file, for messages.
    """

    places: Mapping[str, int]
    source: str | Path
    _paths: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._composed = {compose(name): name for name in self.places if not name.isascii()}

    def find(self, path: str) -> int:
        """Return the row of an image, -1 if it has no regions.

        Raises:
            ValueError: another path of the file was found under the same name, so that one of the two would get the
                regions of the other.
        """
        name, rest = self._name_of(path), path
        while name not in self.places and "/" in rest:
            rest = rest.split("/", 1)[1]
            name = self._name_of(rest)
        if name not in self.places:
            return -1
        if compose(other := self._paths.setdefault(name, path)) != compose(path):
            raise ValueError(
                f"{self.source}: {other} and {path} both fit the regions of {name}; extract the regions from a list of "
                "images, so that they keep their paths."
            )
        return self.places[name]

    def _name_of(self, path: str) -> str:
        return path if path in self.places or path.isascii() else self._composed.get(compose(path), path)


__all__ = ["RegionFinder"]
