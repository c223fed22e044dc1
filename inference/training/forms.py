"""The form of a training run: good defaults, and all the rest under "Advanced"."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms.utils import pretty_name
from django.template.defaultfilters import pluralize
from django.utils.text import capfirst

from inference.ml.bundle import LONGEST_CLASS, MOST_CLASSES
from inference.ml.datasets.tables import tidy_label
from inference.ml.settings import BALANCES, SMALLEST_SIZE, fixed_by
from inference.ml.views import VIEWS
from inference.models import DatasetVersion, ModelVersion, TrainingRun
from inference.templatetags.figures import NETWORKS
from inference.training.options import Options, Order, Start, can_go_on, card_of

PRETRAINED = frozenset(NETWORKS) - {"scratch-cnn"}
LARGEST_SIZE = 320

SPLITS = {
    "locked": "Keep that of the model in use, and deal new photographs",
    "photograph": "Deal all photographs anew",
    "given": "Take the test set that came with the data (TRAIN and TEST folders)",
}
BALANCE_NAMES = {
    "oversample": "Draw every class alike often",
    "weights": "Weigh rare classes more",
    "none": "Neither",
}
CHOICES: dict[str, dict[Any, str]] = {
    "backbone": NETWORKS,
    "split": SPLITS,
    "balance": BALANCE_NAMES,
}


class _VersionsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    def clean(self, value: Any) -> Any:
        try:
            return super().clean(value)
        except OverflowError as error:  # a key that is too large for SQLite
            raise ValidationError(self.error_messages["invalid_choice"]) from error

    def label_from_instance(self, version: DatasetVersion) -> str:
        told = version.summary
        pictures, classes = told["pictures"], len(told["classes"])
        return (
            f"{version}: {pictures:,} picture{pluralize(pictures)} of "
            f"{classes} class{pluralize(classes, 'es')}"
        )


class DataForm(forms.Form):
    """What to train on."""

    versions = _VersionsField(
        DatasetVersion.objects.none(),
        label="Datasets",
        widget=forms.CheckboxSelectMultiple,
        error_messages={
            "required": "Choose a dataset first.",
            "invalid_choice": "What you chose cannot be trained on. Choose one of these.",
        },
    )

    def __init__(self, *args: Any, versions: QuerySet[DatasetVersion], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["versions"].queryset = versions  # type: ignore[attr-defined]


class TrainingForm(forms.Form):
    """How to train on them. ``labels`` are those of the data; ``model`` is the one in use."""

    start = forms.ChoiceField(label="Start from", widget=forms.RadioSelect)
    split = forms.ChoiceField(label="Test set", widget=forms.RadioSelect)

    backbone = forms.ChoiceField(
        label="Network", choices=[(key, capfirst(name)) for key, name in NETWORKS.items()]
    )
    size = forms.IntegerField(
        label="Side of a crop, in pixels", min_value=SMALLEST_SIZE, max_value=LARGEST_SIZE
    )
    views = forms.TypedChoiceField(
        label="Views averaged when serving",
        choices=[(number, number) for number in VIEWS],
        coerce=int,
        help_text="Flips and turns of each cell. More are a little better, and slower.",
    )
    validation = forms.FloatField(label="Share to validate with", min_value=0.01, max_value=0.5)
    test = forms.FloatField(label="Share to test with", min_value=0.01, max_value=0.5)
    seed = forms.IntegerField(
        min_value=0, max_value=2**31 - 1, help_text="Of the split and of all draws."
    )
    warm_up_crops = forms.IntegerField(
        label="Crops at most",
        min_value=10,
        max_value=100_000,
        help_text="The last layer alone is fitted to them. It is solved, so it has no rate.",
    )
    warm_up_strength = forms.FloatField(
        label="Freedom",
        min_value=1e-6,
        max_value=1e6,
        help_text="The inverse of the penalty on the last layer's weights.",
    )
    warm_up_steps = forms.IntegerField(label="Steps at most", min_value=1, max_value=100_000)
    epochs = forms.IntegerField(label="Epochs", min_value=1, max_value=1000)
    crops_per_epoch = forms.IntegerField(
        label="Crops in an epoch", min_value=8, max_value=1_000_000
    )
    learning_rate = forms.FloatField(label="Highest learning rate", min_value=1e-7, max_value=1.0)
    batch = forms.IntegerField(label="Crops in a batch", min_value=1, max_value=512)
    patience = forms.IntegerField(
        label="Epochs without gain", min_value=1, max_value=1000, help_text="Then it stops."
    )
    stop_after_minutes = forms.IntegerField(
        label="Stop after minutes",
        required=False,
        min_value=1,
        max_value=60 * 24 * 14,
        help_text="Then the best epoch so far is kept. Empty: no limit.",
    )
    balance = forms.ChoiceField(
        label="Balance",
        choices=[(name, BALANCE_NAMES[name]) for name in BALANCES],
    )
    label_smoothing = forms.FloatField(min_value=0, max_value=0.3)
    colour = forms.FloatField(label="Colour", min_value=0, max_value=5)
    stain = forms.FloatField(label="Stain", min_value=0, max_value=5)
    focus = forms.FloatField(label="Share made less sharp", min_value=0, max_value=1)

    MAIN = ("start", "split")
    ADVANCED = (
        ("Network", ("backbone", "size", "views")),
        ("Source photographs", ("validation", "test", "seed")),
        (
            "First stage: the last layer alone",
            ("warm_up_crops", "warm_up_strength", "warm_up_steps"),
        ),
        (
            "Second stage: the whole network",
            (
                *("epochs", "crops_per_epoch", "batch", "learning_rate"),
                *("patience", "stop_after_minutes"),
            ),
        ),
        ("Classes", ("balance", "label_smoothing")),
        ("Variation of the crops", ("colour", "stain", "focus")),
    )

    def __init__(
        self, *args: Any, labels: list[str], model: ModelVersion | None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.labels, self.model = labels, model
        self._say_choices()
        class_map = self.initial.get("class_map", {})
        known = set(model.classes) if model else set()
        for number, label in enumerate(labels):
            given = class_map.get(label, label)
            self.fields[f"class_{number}"] = forms.CharField(
                label=label,
                initial=given,
                required=False,
                max_length=LONGEST_CLASS,
                help_text="new to the model in use" if known and given not in known else "",
                widget=forms.TextInput(attrs={"autocomplete": "off", "list": "known-classes"}),
            )

    def _say_choices(self) -> None:
        imagenet = (
            "ImageNet weights (MobileNetV2's from the file on the server; others are downloaded)"
            if settings.IMAGENET_WEIGHTS
            else "ImageNet weights (downloaded, which needs internet)"
        )
        starts = [(Start.IMAGENET.value, imagenet), (Start.SCRATCH.value, "Random weights")]
        if self.model:
            starts.insert(0, (Start.ACTIVE.value, f"The model in use, {self.model}"))
        self.fields["start"].choices = starts  # type: ignore[attr-defined]
        self.fields["split"].choices = [  # type: ignore[attr-defined]
            (name, told) for name, told in SPLITS.items() if self.model or name != "locked"
        ]
        self.fields["start"].initial = starts[0][0]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        start, backbone = cleaned.get("start"), cleaned.get("backbone")
        if start == Start.IMAGENET and backbone not in PRETRAINED:
            self.add_error("backbone", "There are no ImageNet weights for this network.")
        if start == Start.ACTIVE and self.model:
            self._check_going_on(self.model, cleaned)
        if not any(self.class_map.values()):
            raise ValidationError("All classes are left out: keep two at least.")
        if (count := len({*self.class_map.values()} - {""})) > MOST_CLASSES:
            raise ValidationError(
                f"{count} classes are more than a model can have: join or leave out some, so that "
                f"{MOST_CLASSES} are left."
            )
        if cleaned.get("validation", 0) + cleaned.get("test", 0) >= 1:
            self.add_error("test", "The two shares must leave photographs to train with.")
        return cleaned

    def _check_going_on(self, model: ModelVersion, cleaned: dict[str, Any]) -> None:
        card = card_of(model)
        if card is None:
            self.add_error("start", "This version of the program cannot go on from that model.")
            return
        if not can_go_on(card):
            self.add_error(
                "start",
                "The model in use came from elsewhere and cannot be trained on. Start from "
                "ImageNet's weights or from random ones.",
            )
            return
        fixed = fixed_by(card)["backbone"]
        if cleaned.get("backbone") not in (None, fixed):
            name = NETWORKS.get(fixed, fixed)
            self.add_error("backbone", f"The model in use is {name}: what starts from it is, too.")
        if cleaned.get("split") == "photograph":
            self.add_error(
                "split",
                "What starts from the model in use has seen its training photographs: dealt "
                "anew, some would be tested with. Keep its test set, or start from other weights.",
            )

    @property
    def class_map(self) -> dict[str, str]:
        """From each label of the data to a class of the model; "" leaves it out."""
        return {
            label: tidy_label(self.cleaned_data.get(f"class_{number}", ""))
            for number, label in enumerate(self.labels)
        }

    @property
    def options(self) -> Options:
        """Of a valid form."""
        names = {field.name for field in fields(Options)} & set(self.cleaned_data)
        card = card_of(self.model) if self.model else None
        going_on = card is not None and self.cleaned_data["start"] == Start.ACTIVE
        width = fixed_by(card)["width"] if card and going_on else 1.0
        return Options(**{name: self.cleaned_data[name] for name in names}, width=width)

    def order(self, versions: list[DatasetVersion]) -> Order:
        """Of a valid form."""
        return Order(
            versions=versions,
            class_map=self.class_map,
            start=Start(self.cleaned_data["start"]),
            parent=self.model,
            options=self.options,
        )

    # For the template
    def main_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.MAIN]

    def class_fields(self) -> list[forms.BoundField]:
        return [self[f"class_{number}"] for number in range(len(self.labels))]

    def advanced_fields(self) -> list[tuple[str, list[forms.BoundField]]]:
        return [(title, [self[name] for name in names]) for title, names in self.ADVANCED]

    def advanced_is_wrong(self) -> bool:
        return any(self[name].errors for _, names in self.ADVANCED for name in names)


def initial_of(run: TrainingRun) -> dict[str, Any]:
    """What a form begins with that repeats a run."""
    options = Options.from_json(run.settings).to_json()
    return {**options, "start": run.start, "class_map": run.class_map}


def settings_in_words(options: Options) -> list[tuple[str, list[tuple[str, Any]]]]:
    """The choices, under the headings and names of the form."""
    told = options.to_json()

    def value(name: str) -> Any:
        return CHOICES.get(name, {}).get(told[name], told[name])

    groups = [("", ("split",)), *TrainingForm.ADVANCED]
    return [
        (title, [(_label(name), value(name)) for name in names if told[name] is not None])
        for title, names in groups
    ]


def _label(name: str) -> str:
    field = TrainingForm.base_fields[name]
    return str(field.label or pretty_name(name))
