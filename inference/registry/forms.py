"""The registry's forms."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError


class ReasonForm(forms.Form):
    """Why what serves is changed."""

    reason = forms.CharField(
        label="Reason",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Why this model is put in use. It stands in the audit trail.",
        error_messages={"required": "Say why."},
    )


class PromotionForm(ReasonForm):
    override_reason = forms.CharField(
        label="Second reason",
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Why, although the gate is closed. It stands beside the first.",
    )

    def __init__(self, *args: object, closed: bool, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        if not closed:
            del self.fields["override_reason"]


class ImportForm(forms.Form):
    bundle = forms.FileField(
        label="Bundle",
        help_text="A ZIP archive, as “Download the bundle” of another installation gives it.",
    )

    def clean_bundle(self) -> Any:
        file = self.cleaned_data["bundle"]
        if file.size > settings.MODEL_UPLOAD_MAX_BYTES:
            limit = settings.MODEL_UPLOAD_MAX_BYTES // 2**20
            raise ValidationError(f"The file is larger than {limit} MB (MODEL_UPLOAD_MAX_MB).")
        return file
