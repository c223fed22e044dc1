"""How cells, probabilities and times are put into words."""

from django import template

from analyses.models import Cell, Prediction, SampleImage
from hematovision.formats import percent
from inference.cells import PICTURE_FLAGS, UNFAMILIAR, cell_class, in_order

register = template.Library()


@register.filter
def cell_name(label: str) -> str:
    """ "Immature granulocyte" for "ig"."""
    return cell_class(label).name


@register.filter
def shown_as(cell: Cell) -> str:
    """The class under which a cell is shown and counted: a person's answer, else the model's. One
    that is unfamiliar to the model is in none; "" while nobody has answered."""
    if cell.review:
        return cell.review.label
    said: list[Prediction] = cell.current_predictions  # type: ignore[attr-defined]
    if not said:
        return ""
    return UNFAMILIAR if UNFAMILIAR in said[0].flags else said[0].label


@register.filter
def picture_advice(flag: str) -> str:
    """What is wrong with a picture and what to do, in a sentence."""
    return PICTURE_FLAGS.get(flag, f"Check the picture: {flag.replace('_', ' ')}.")


@register.filter
def confidence_words(prediction: Prediction) -> str:
    """The calibrated confidence in words that promise no more than it holds."""
    if UNFAMILIAR in prediction.flags:
        return "Looks unlike the cells the model was trained on, please review"
    share = percent(prediction.confidence)
    if "uncertain" in prediction.flags:
        return f"Uncertain, please review ({share})"
    if prediction.confidence >= 0.99:
        return f"Very likely ({share})"
    if prediction.confidence >= 0.9:
        return f"Likely ({share})"
    return f"More likely than not ({share})" if prediction.confidence > 0.5 else f"Weak ({share})"


@register.filter
def probability_rows(prediction: Prediction) -> list[tuple[str, str, float, str]]:
    """(label, name, probability, in words) of every class, the most probable first."""
    probabilities = prediction.probabilities
    labels = sorted(in_order(list(probabilities)), key=lambda label: -probabilities[label])
    return [
        (label, cell_class(label).name, probabilities[label], percent(probabilities[label]))
        for label in labels
    ]


@register.filter
def stacked(prediction: Prediction) -> list[tuple[str, str, float, float]]:
    """(label, name, start, width) of the parts of a bar 100 units long."""
    parts, start = [], 0.0
    for label, name, probability, _ in probability_rows(prediction):
        width = 100 * probability
        parts.append((label, name, round(start, 2), round(width, 2)))
        start += width
    return parts


@register.filter
def label_size(image: SampleImage) -> int:
    """Height of the numbers drawn on a picture, in its own pixels."""
    return max(12, max(image.stored_image.width, image.stored_image.height) // 24)


@register.filter
def milliseconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f} ms" if value >= 1 else "under 1 ms"
