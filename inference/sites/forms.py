from typing import Any

from django import forms

from accounts.models import Site
from inference.models import DatasetVersion, ModelVersion, SiteValidation
from inference.registry.selectors import active_model_version, model_versions
from inference.sites.selectors import cells_of
from inference.sites.verdict import Verdict


class ValidationForm(forms.Form):
    """Which model is measured on which of a site's cells."""

    dataset_version = forms.ModelChoiceField(
        DatasetVersion.objects.none(), label="Labelled cells", empty_label=None
    )
    model_version = forms.ModelChoiceField(
        ModelVersion.objects.none(), label="Model", empty_label=None
    )

    def __init__(self, *args: Any, site: Site, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cells: Any = self.fields["dataset_version"]
        cells.queryset = cells_of(site)
        cells.label_from_instance = lambda version: f"{version}: {version.cell_count} cells"
        self.fields["model_version"].queryset = model_versions()  # type: ignore[attr-defined]
        self.fields["model_version"].initial = active_model_version(site)


class AcceptanceForm(forms.Form):
    """A person's words, and that they know the verdict where it is not “fit”."""

    words = forms.CharField(
        label="Why you accept it",
        max_length=500,
        help_text="In your own words; they are kept with your name.",
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    against = forms.BooleanField(required=False)

    def __init__(self, *args: Any, validation: SiteValidation, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.needs_tick = bool(validation.verdict) and validation.verdict != Verdict.FIT
        if self.needs_tick:
            label = Verdict(validation.verdict).label.lower()
            self.fields["words"].label = "Why it may be used here all the same"
            self.fields["against"].label = f"I accept it although the verdict is “{label}”"
