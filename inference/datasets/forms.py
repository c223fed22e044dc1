from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from accounts.models import Site, User
from accounts.selectors import sites_for
from inference.datasets.selectors import datasets_in_use_for, same_cells
from inference.datasets.uploads import NewDataset, SentTable
from inference.ml.bundle import LONGEST_CLASS
from inference.models import Dataset, DatasetVersion


class ArchiveForm(forms.Form):
    """What belongs to an archive: a new dataset's name and facts, or the dataset it is for."""

    dataset = forms.ModelChoiceField(
        Dataset.objects.none(),
        required=False,
        empty_label="A new dataset",
        label="For",
        help_text="An archive for a dataset that is here already becomes its next version.",
    )
    name = forms.CharField(
        max_length=80,
        required=False,
        help_text="Of the new dataset, as models will name it.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    licence = forms.CharField(
        max_length=200, required=False, help_text="It will stand in the card of every model."
    )
    description = forms.CharField(
        max_length=2000,
        required=False,
        help_text="Where the pictures come from: laboratory, stain, camera, who labelled them.",
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    site = forms.ModelChoiceField(
        Site.objects.none(),
        required=False,
        empty_label="No site of ours",
        help_text="Whose cells they are, if they come from a site of yours.",
    )
    table = forms.FileField(
        required=False,
        label="Table of labels or source photographs",
        help_text=(
            "Optional CSV: a heading, and the columns file and label, group (source photograph "
            "or patient) or part (train, test)."
        ),
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )

    def __init__(self, *args: Any, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["dataset"].queryset = datasets_in_use_for(person)  # type: ignore[attr-defined]
        self.fields["site"].queryset = sites_for(person)  # type: ignore[attr-defined]

    def clean_name(self) -> str:
        name = " ".join(str(self.cleaned_data["name"]).split())
        if self.data.get("dataset"):
            return ""
        if not name:
            raise ValidationError("Give the new dataset a name.")
        if Dataset.objects.filter(name__iexact=name).exists():
            raise ValidationError(
                "A dataset of this name is here already. Choose it above (if it is retired, bring "
                "it back first), or take another name."
            )
        return name

    def clean_table(self) -> Any:
        """The table is read once here, so that its faults are told before a long upload."""
        from inference.ml.datasets.tables import TableError, read_table

        file = self.cleaned_data["table"]
        if file is None:
            return None
        if file.size > settings.UPLOAD_MAX_BYTES:
            limit = settings.UPLOAD_MAX_BYTES // 2**20
            raise ValidationError(f"The table is larger than {limit} MB.")
        try:
            read_table(file.name, file.read())
        except TableError as error:
            raise ValidationError(str(error)) from error
        file.seek(0)
        return file

    @property
    def target(self) -> Dataset | NewDataset:
        """Of a valid form: what the archive becomes a version of."""
        told = self.cleaned_data
        return told["dataset"] or NewDataset(
            name=told["name"],
            description=told["description"],
            licence=told["licence"],
            site=told["site"],
        )

    @property
    def sent_table(self) -> SentTable | None:
        """Of a valid form."""
        file = self.cleaned_data["table"]
        return SentTable(file.name, file.read()) if file else None


class AnnouncementForm(forms.Form):
    """What the page tells of a file before it sends its first piece."""

    file_name = forms.CharField(max_length=300)
    size = forms.IntegerField(min_value=1, max_value=2**63 - 1)
    last_modified = forms.IntegerField(min_value=-(2**63), max_value=2**63 - 1)


class DatasetForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """The facts of a dataset that may change; its name stands in models and stays."""

    class Meta:
        model = Dataset
        fields = ("licence", "description")
        widgets = {"description": forms.Textarea(attrs={"rows": 4})}


class EditForm(forms.Form):
    """A new version with other class names, or without classes or single pictures."""

    def __init__(self, *args: Any, version: DatasetVersion, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.labels = list(version.summary["classes"])
        self.same_cells = same_cells(version)
        for number, label in enumerate(self.labels):
            count = version.summary["classes"][label]
            self.fields[f"label_{number}"] = forms.CharField(
                label=label,
                initial=label,
                required=False,
                max_length=LONGEST_CLASS,
                help_text=f"{count:,} pictures. Empty: leave the class out.",
                widget=forms.TextInput(attrs={"autocomplete": "off", "list": "known-classes"}),
            )
        if contradicting := len(self.same_cells.contradicting):
            self.fields["without_contradicting"] = forms.BooleanField(
                required=False,
                label=f"Leave out {contradicting:,} pictures whose file stands under two classes",
            )
        if copies := len(self.same_cells.copies):
            self.fields["without_copies"] = forms.BooleanField(
                required=False,
                label=f"Leave out {copies:,} pictures that are copies of others, byte by byte",
            )

    @property
    def names(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith("label_")]

    @property
    def ticks(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith("without_")]

    @property
    def changes(self) -> dict[str, str]:
        """From each label to what it shall be called; "" to leave it out."""
        from inference.ml.datasets.tables import tidy_label

        return {
            label: tidy_label(self.cleaned_data[f"label_{number}"])
            for number, label in enumerate(self.labels)
        }

    @property
    def left_out(self) -> list[int]:
        """Keys of the images that the ticks leave out."""
        told, same = self.cleaned_data, self.same_cells
        return [
            *(same.contradicting if told.get("without_contradicting") else []),
            *(same.copies if told.get("without_copies") else []),
        ]
