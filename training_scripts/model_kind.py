"""What kind of model is in a folder, asked before anything else is done with it."""

from transformers import AutoConfig


def model_kind(init_from: str) -> str:
    """Returns the type of the model in a folder or hub repository, such as "mlmm".

    Raises:
        ValueError: no model is there, or it cannot be reached.
    """
    try:
        return AutoConfig.from_pretrained(init_from).model_type
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"init_from is {init_from!r}, where there is no model ({reason}); give its folder.") from error


__all__ = ["model_kind"]
