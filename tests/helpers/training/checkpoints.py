"""What a checkpoint must be for: a run that was stopped leaves nothing else."""

from pathlib import Path

from transformers import AutoModel, AutoProcessor, PreTrainedTokenizerBase


def assert_opens_like(checkpoint: Path, folder: Path) -> None:
    """Holds the processor and the model type of a checkpoint against those of the folder of its run."""
    found, wanted = AutoProcessor.from_pretrained(checkpoint), AutoProcessor.from_pretrained(folder)
    assert type(found) is type(wanted)
    assert found.to_dict() == wanted.to_dict()
    tokenizers = [getattr(one, "tokenizer", None) for one in (found, wanted)]
    assert all(isinstance(one, PreTrainedTokenizerBase) for one in tokenizers) or tokenizers == [None, None]
    assert len({tuple(sorted(one.get_vocab().items())) for one in tokenizers if one is not None}) < 2
    assert type(AutoModel.from_pretrained(checkpoint)) is type(AutoModel.from_pretrained(folder))


__all__ = ["assert_opens_like"]
