from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from accounts.models import Site, User
from accounts.selectors import colleagues_of, sites_for
from analyses.models import Sample
from analyses.selectors import State
from inference.cells import (
    CLASSES,
    NO_CLASS,
    PEOPLES_CLASSES,
    UNFAMILIAR,
    cell_class,
    in_order,
)
from inference.datasets.selectors import datasets_in_use_for
from inference.models import Dataset
from inference.registry.selectors import serving


class UploadForm(forms.Form):
    """What belongs to a batch of images, beside the files themselves."""

    batch = forms.UUIDField(widget=forms.HiddenInput)
    sample = forms.ModelChoiceField(Sample.objects.none(), required=False, widget=forms.HiddenInput)
    site = forms.ModelChoiceField(
        Site.objects.none(), required=False, empty_label=None, widget=forms.Select
    )
    accession_number = forms.CharField(
        max_length=40,
        required=False,
        strip=True,
        validators=Sample._meta.get_field("accession_number").validators,
        help_text="Leave empty to get the next number.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "automatic"}),
    )
    patient_identifier = forms.CharField(
        label="Patient identifier",
        max_length=40,
        required=False,
        help_text="Optional. A sample can be anonymous.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    training_consent = forms.BooleanField(
        label="Pictures of this sample may be used to train and test models (consent given)",
        required=False,
    )

    def __init__(self, *args: Any, person: User, samples: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = sites_for(person)  # type: ignore[attr-defined]
        self.fields["sample"].queryset = samples  # type: ignore[attr-defined]
        if len(sites := list(sites_for(person)[:2])) == 1:
            self.fields["site"].widget = forms.HiddenInput()
            self.fields["site"].initial = sites[0].pk

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not cleaned.get("sample") and not cleaned.get("site") and not self.errors:
            raise ValidationError("Choose the site that the sample belongs to.")
        return cleaned


class SampleFilterForm(forms.Form):
    SORTS = {
        "-created_at": "Newest first",
        "created_at": "Oldest first",
        "accession_number": "Accession number",
    }

    q = forms.CharField(
        label="Search",
        required=False,
        widget=forms.TextInput(
            attrs={"type": "search", "placeholder": "Accession number, patient or file name"}
        ),
    )
    label = forms.ChoiceField(
        label="With class",
        required=False,
        choices=[
            ("", "Any class"),
            *((label, c.name) for label, c in CLASSES.items()),
            (UNFAMILIAR, "Unfamiliar cells"),
            *((label, c.name) for label, c in (PEOPLES_CLASSES | NO_CLASS).items()),
        ],
    )
    state = forms.ChoiceField(required=False, choices=[("", "Any state"), *State.choices])
    person = forms.ModelChoiceField(
        User.objects.none(), label="Uploaded by", required=False, empty_label="Anybody"
    )
    since = forms.DateField(
        label="From", required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    until = forms.DateField(
        label="To", required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    sort = forms.ChoiceField(required=False, choices=list(SORTS.items()))

    def __init__(self, *args: Any, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["person"].queryset = colleagues_of(person)  # type: ignore[attr-defined]
        labels: Any = self.fields["label"]
        known = {label for label, _ in labels.choices}
        learned = {label for _, version in serving() for label in version.classes} - known
        labels.choices = [
            *labels.choices,
            *((label, cell_class(label).name) for label in in_order([*learned])),
        ]


class CorrectionsForm(forms.Form):
    """Into which dataset a site's reviewed cells go."""

    site = forms.ModelChoiceField(Site.objects.none(), widget=forms.HiddenInput)
    dataset = forms.ModelChoiceField(
        Dataset.objects.none(), required=False, empty_label="A new dataset", label="For"
    )
    name = forms.CharField(
        max_length=80,
        required=False,
        label="Name of the new dataset",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args: Any, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.site_pk = str(self["site"].value() or "")
        self.auto_id = f"id_{self.site_pk}_%s"  # one form for each site on the page
        sites: Any = self.fields["site"]
        datasets: Any = self.fields["dataset"]
        sites.queryset = sites_for(person)
        try:
            datasets.queryset = datasets_in_use_for(person).filter(site=sites.clean(self.site_pk))
        except ValidationError:  # the form's own check tells it
            datasets.queryset = Dataset.objects.none()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not cleaned.get("dataset") and not cleaned.get("name") and not self.errors:
            raise ValidationError("Give the new dataset a name.")
        return cleaned


class AcknowledgementForm(forms.Form):
    """What a person has found or done about an alert."""

    note = forms.CharField(
        max_length=500, error_messages={"required": "Say what you have found or done."}
    )
