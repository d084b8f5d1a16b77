"""A folder of a model that is on this machine or on the hub, and how to get at it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HFValidationError, RevisionResolutionError

MODEL_FILES = (".json", ".safetensors", ".yaml")


@dataclass(frozen=True)
class HubFolder:
    """A folder: `subfolder` of a local one, or of a repository of the hub.

    Attributes:
        name: of a local folder, else the id of a repository.
        subfolder: inside it; "" for itself.
        revision: of the repository; None: its main one.
        access: what the hub's functions take beside that: `token`, `cache_dir`, `force_download`, `local_files_only`.
    """

    name: str
    subfolder: str = ""
    revision: str | None = None
    access: Mapping[str, Any] = field(default_factory=dict)

    def pinned(self) -> "HubFolder":
        """Return the same with the commit that the revision is at now, where the hub or its cache knows it."""
        if Path(self.name).exists():
            return self
        access = {name: value for name, value in self.access.items() if name != "force_download"}
        try:
            found = HfApi().resolve_revision(self.name, revision=self.revision, **access)
        except (OSError, HFValidationError, RevisionResolutionError):  # whoever opens the files says what is wrong
            return self
        return replace(self, revision=found.resolved)

    def inside(self, folder: str) -> "HubFolder":
        """Return a folder inside this one."""
        return replace(self, subfolder=Path(self.subfolder, folder).as_posix())

    def fetch(self) -> Path:
        """Return the folder on this machine, its model's files fetched from the hub if it is there.

        Raises:
            OSError: it is neither here nor on the hub, or the hub refuses it.
        """
        if Path(self.name).is_dir():
            return Path(self.name, self.subfolder)
        prefix = f"{self.subfolder}/" if self.subfolder else ""
        try:
            fetched = snapshot_download(
                self.name,
                revision=self.revision,
                allow_patterns=[f"{prefix}*{suffix}" for suffix in MODEL_FILES],
                ignore_patterns=f"{prefix}*/*",
                **self.access,
            )
        except (OSError, HFValidationError) as error:
            reason = " ".join(str(error).split())[:200]
            raise OSError(f"There is no folder {self.name}, and the hub does not give it ({reason}).") from error
        return Path(fetched, self.subfolder)


__all__ = ["MODEL_FILES", "HubFolder"]
