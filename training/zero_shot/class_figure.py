"""The figure of a zero-shot classification: its best and worst classes with images."""

from pathlib import Path

from ...analysis.class_examples import ClassExamples, draw_class_examples
from ...data.files.atomic import atomic_file
from ...data.rows.report import BadRowError
from ...evaluation.zero_shot.evaluate import ZeroShotResult
from ...evaluation.zero_shot.metrics import class_metrics
from ...processing.image_decoding import decode_image

SHOWN, EXAMPLES = 5, 3  # best and worst classes, images of each


def draw_classes(result: ZeroShotResult, path: Path, *, as_original: bool = False) -> None:
    """Draw the classes that the last setting of the first language knows best and worst, with some of their images."""
    language = next(iter(result.classes))
    setting = [one for one, (own, _) in result.settings.items() if own == language][-1]
    classes, found, labels = result.classes[language], result.found.settings[setting], result.found.labels
    of_class = class_metrics(labels, found, len(classes))
    known = [index for index in range(len(classes)) if of_class["images"][index]]
    order = sorted(known, key=lambda index: (of_class["top_1"][index], of_class["margin"][index]))
    shown = min(SHOWN, max(1, len(order) // 2))
    worst, best = order[:shown], order[::-1][:shown]
    rows = {
        index: sorted((labels == index).nonzero()[0], key=lambda row: sign * found.margin[row])[:EXAMPLES]
        for chosen, sign in ((best, -1), (worst, 1))
        for index in chosen
    }
    wanted = {result.found.names[row] for own in rows.values() for row in own}
    stored = {
        one.name: decode_image(one.image, as_original=as_original)
        for one in result.images
        if one.name in wanted and not isinstance(one.image, BadRowError)
    }

    def examples(index: int) -> ClassExamples:
        images = [(stored[result.found.names[row]], classes.names[found.top[row, 0]][0]) for row in rows[index]]
        accuracy, count = float(of_class["top_1"][index]), int(of_class["images"][index])
        return ClassExamples(classes.names[index][0], accuracy, count, images)

    title = f"Best and worst classes: ● name, top-1; ✓ right, × taken for ({language})"
    try:
        drawn = draw_class_examples(title, [*map(examples, best)], [*map(examples, worst)], language=language)
    except ValueError as error:  # letters that no font here has
        print(f"The classes are not drawn: {error}")
        return
    with atomic_file(path) as unfinished:
        drawn.save(unfinished, format="PNG")


__all__ = ["draw_classes"]
