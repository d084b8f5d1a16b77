"""Many images decoded in threads, a few of them ahead of where they are needed."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from PIL import Image

from ..data.rows.report import BadRowError
from ..processing.image_decoding import ImageDecodingError, ImageSource, decode_image


def decode_ahead(
    images: Iterable[ImageSource | BadRowError], *, num_workers: int = 2, as_original: bool = False
) -> Iterator[Image.Image | BadRowError]:
    """Yield each image decoded, in their order; for one that cannot be decoded, or is an error already, the error.

    Args:
        images: what `decode_image` reads.
        num_workers: threads; twice as many images are decoded ahead.
        as_original: as for `decode_image`.
    """

    def decode(image: ImageSource | BadRowError) -> Image.Image | BadRowError:
        if isinstance(image, BadRowError):
            return image
        try:
            return decode_image(image, as_original=as_original)
        except ImageDecodingError as error:
            return BadRowError.of_image(error)

    with ThreadPoolExecutor(num_workers) as pool:  # Pillow decodes without the interpreter's lock
        ahead: deque[Future[Image.Image | BadRowError]] = deque()
        for image in images:
            ahead.append(pool.submit(decode, image))
            if len(ahead) > 2 * num_workers:
                yield ahead.popleft().result()
        for decoded in ahead:
            yield decoded.result()


__all__ = ["decode_ahead"]
