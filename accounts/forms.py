from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError

from accounts.audit import Action
from accounts.models import Site, User
from accounts.permissions import Role


class LoginForm(AuthenticationForm):
    username = forms.CharField(
        label="User name or e-mail",
        widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "username"}),
    )
    error_messages = {
        "invalid_login": "User name and password do not match. In the password, capitals matter. "
        "If you have forgotten it, an admin can give you a new one.",
        "inactive": "This account is not active. Ask an admin.",
        "locked": "Too many failed log-ins at this account or from this computer in the last "
        "hour. Try again later. A new password from an admin opens the account at once.",
    }


class PersonForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    role = forms.ChoiceField(choices=Role.choices, widget=forms.RadioSelect)
    sites = forms.ModelMultipleChoiceField(
        Site.objects.all(), widget=forms.CheckboxSelectMultiple, required=False
    )

    class Meta:
        model = User
        fields = ("full_name", "username", "email", "role", "sites", "is_active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            del self.fields["is_active"]
            self.fields["sites"].initial = Site.objects.all()[:1]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("role") in (Role.TECHNICIAN, Role.DOCTOR) and not cleaned.get("sites"):
            raise ValidationError("Technicians and doctors need at least one site.")
        return cleaned


class SiteForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = Site
        fields = ("name",)


class AuditFilterForm(forms.Form):
    text = forms.CharField(
        label="Search", required=False, widget=forms.TextInput(attrs={"type": "search"})
    )
    action = forms.ChoiceField(choices=[("", "Every act"), *Action.choices], required=False)
