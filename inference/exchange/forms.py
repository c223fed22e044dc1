"""The import wizard's forms."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from inference.cells import CLASSES
from inference.ml.bundle import LONGEST_CLASS
from inference.ml.keras_import.options import BGR, RGB, SCALES, Options, usual_scale
from inference.ml.preprocess import AREA, BILINEAR, NEAREST

USUAL_ORDER = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")
"""Of models of the Kaggle set: Keras numbers class folders by their names."""

SCALE_WORDS = {
    "0..1": "0 to 1: divided by 255 (rescale=1./255)",
    "-1..1": "-1 to 1: preprocess_input of MobileNetV2 or ResNet50V2",
    "0..255": "0 to 255: as they are; the model scales them itself, if at all",
    "caffe": "less the means over ImageNet: preprocess_input of VGG16",
}


class KerasFileForm(forms.Form):
    file = forms.FileField(
        label="Keras file",
        help_text="A whole model, .keras or .h5, as model.save(…) writes it. Nothing in it is run.",
    )


class KerasOptionsForm(forms.Form):
    """What a file cannot say: which answer is which class, and what was done to pixels."""

    def __init__(self, *args: Any, recognised: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._classes = int(recognised["classes"])
        known = USUAL_ORDER if self._classes == len(USUAL_ORDER) else ()
        for number in range(self._classes):
            self.fields[f"class_{number}"] = forms.CharField(
                label=f"Class of answer {number + 1}",
                max_length=LONGEST_CLASS,
                initial=known[number] if known else "",
                widget=forms.TextInput(attrs={"list": "cell-classes", "autocomplete": "off"}),
            )
        self.fields["scale"] = forms.ChoiceField(
            label="What pixels were before they went in",
            choices=[(scale, SCALE_WORDS[scale]) for scale in SCALES],
            initial=usual_scale(recognised["backbone"], scales_pixels=recognised["scales_pixels"]),
            help_text="As in the code that trained it: a wrong choice costs most of the accuracy.",
            widget=forms.RadioSelect,
        )
        self.fields["colours"] = forms.ChoiceField(
            label="Order of the colours",
            choices=[
                (RGB, "red, green, blue (Keras, Pillow)"),
                (BGR, "blue, green, red (cv2.imread without conversion; VGG16's own)"),
            ],
            initial=BGR if self.fields["scale"].initial == "caffe" else RGB,
            widget=forms.RadioSelect,
        )
        self.fields["interpolation"] = forms.ChoiceField(
            label="How pictures were squeezed into the square",
            choices=[
                (BILINEAR, "linearly (cv2.resize, image_dataset_from_directory)"),
                (NEAREST, "nearest pixel (load_img, flow_from_directory)"),
                (AREA, "by area (closest to Pillow's smooth filters)"),
            ],
            initial=BILINEAR,
            widget=forms.RadioSelect,
        )

    @property
    def known_classes(self) -> list[str]:
        return list(CLASSES)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        names = [data.get(f"class_{number}", "").strip().lower() for number in range(self._classes)]
        if not self.errors:
            try:
                self.options = Options(
                    tuple(names), data["scale"], data["colours"], data["interpolation"]
                )
            except ValueError as error:
                raise ValidationError(str(error)) from error
        return data
