"""Checks of the texts that a processor gets."""

from collections.abc import Sequence


def is_blank(text: str) -> bool:
    """Return True where nothing can be seen: white space, zero-width and control characters."""
    return not any(character.isprintable() and not character.isspace() for character in text)


def check_texts(texts: str | Sequence[str]) -> None:
    """Raise ValueError if a text is blank or not a string."""
    for index, text in enumerate([texts] if isinstance(texts, str) else texts):
        if not isinstance(text, str):
            raise ValueError(f"Text {index} is a {type(text).__name__}; expected a string.")
        if is_blank(text):
            raise ValueError(f"Text {index} is blank ({text!r}); leave its row out.")


__all__ = ["check_texts", "is_blank"]
