"""Log-in and the admin's pages about people, sites and the audit trail."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth import views as auth_views
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Q
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import audit, selectors, services
from accounts.access import AuthenticatedRequest, public, requires, signed_in
from accounts.forms import AuditFilterForm, LoginForm, PersonForm, SiteForm
from accounts.models import User
from accounts.permissions import Permission


class _LoginView(auth_views.LoginView):
    template_name = "accounts/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        at_account, from_address = selectors.login_failures(
            _login_name(request.POST), audit.address_of(request)
        )
        if (
            at_account >= settings.LOGIN_FAILURES_PER_HOUR
            or from_address >= settings.LOGIN_FAILURES_PER_ADDRESS
        ):
            # Unbound: the password is not even looked at.
            context = {"form": LoginForm(request), "locked": LoginForm.error_messages["locked"]}
            return render(request, self.template_name, context, status=429)
        return super().post(request, *args, **kwargs)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        login = _login_name(form.data)
        person = selectors.person_of_login(login)
        audit.record(audit.Action.LOGIN_FAILED, actor=None, subject=person, label=login)
        return super().form_invalid(form)


def _login_name(data: Mapping[str, Any]) -> str:
    return str(data.get("username", "")).replace("\0", "").strip().lower()


login = public(_LoginView.as_view())
logout = public(auth_views.LogoutView.as_view())


@receiver(user_logged_in)
def _record_login(sender: object, user: User, **kwargs: Any) -> None:
    audit.record(audit.Action.LOGIN, actor=user, subject=user)


@receiver(user_logged_out)
def _record_logout(sender: object, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        audit.record(audit.Action.LOGOUT, actor=user, subject=user)


@signed_in
@require_http_methods(["GET", "POST"])
def password(request: AuthenticatedRequest) -> HttpResponse:
    form = PasswordChangeForm(request.user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        services.password_change(person=request.user, password=form.cleaned_data["new_password1"])
        update_session_auth_hash(request, request.user)  # this session stays, the others end
        messages.success(request, "Your password is changed. Other sessions of yours have ended.")
        return redirect("home")
    return render(request, "accounts/password.html", {"form": form})


@requires(Permission.MANAGE_PEOPLE)
@require_GET
def people(request: AuthenticatedRequest) -> HttpResponse:
    audit.record(audit.Action.PEOPLE_VIEWED, actor=request.user)
    context = {
        "people": selectors.people_for(request.user),
        "sites": selectors.sites_for(request.user),
    }
    return render(request, "accounts/people.html", context)


@requires(Permission.MANAGE_PEOPLE)
@require_http_methods(["GET", "POST"])
def person_new(request: AuthenticatedRequest) -> HttpResponse:
    form = PersonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        person, first_password = services.person_create(by=request.user, **form.cleaned_data)
        return _show_password(request, person, first_password)
    return render(request, "accounts/person_form.html", {"form": form})


@requires(Permission.MANAGE_PEOPLE)
@require_http_methods(["GET", "POST"])
def person_edit(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    person = get_object_or_404(selectors.people_for(request.user), pk=pk)
    form = PersonForm(request.POST or None, instance=person)
    if request.method == "POST" and form.is_valid():
        try:
            services.person_update(person=person, by=request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, f"{person} is changed.")
            return redirect("accounts:people")
    return render(request, "accounts/person_form.html", {"form": form, "person": person})


@requires(Permission.MANAGE_PEOPLE)
@require_POST
def person_password(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    person = get_object_or_404(selectors.people_for(request.user), pk=pk)
    return _show_password(
        request, person, services.password_reset_by_admin(person=person, by=request.user)
    )


def _show_password(request: AuthenticatedRequest, person: User, new_password: str) -> HttpResponse:
    """Shown in the answer itself: never stored in a session, a message or a log."""
    context = {"person": person, "password": new_password}
    return render(request, "accounts/person_password.html", context)


@requires(Permission.MANAGE_PEOPLE)
@require_http_methods(["GET", "POST"])
def site_new(request: AuthenticatedRequest) -> HttpResponse:
    form = SiteForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        site = services.site_create(by=request.user, **form.cleaned_data)
        messages.success(request, f"{site} is added. Now choose who works for it.")
        return redirect("accounts:people")
    return render(request, "accounts/site_form.html", {"form": form})


@requires(Permission.MANAGE_PEOPLE)
@require_http_methods(["GET", "POST"])
def site_edit(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    site = get_object_or_404(selectors.sites_for(request.user), pk=pk)
    form = SiteForm(request.POST or None, instance=site)
    if request.method == "POST" and form.is_valid():
        services.site_update(site=site, by=request.user, **form.cleaned_data)
        messages.success(request, f"{site} is changed.")
        return redirect("accounts:people")
    return render(request, "accounts/site_form.html", {"form": form, "site": site})


@requires(Permission.VIEW_AUDIT)
@require_GET
def audit_trail(request: AuthenticatedRequest) -> HttpResponse:
    events = selectors.audit_events_for(request.user)
    form = AuditFilterForm(request.GET)
    if form.is_valid():
        if action := form.cleaned_data["action"]:
            events = events.filter(action=action)
        if text := form.cleaned_data["text"]:
            events = events.filter(
                Q(object_label__icontains=text)
                | Q(actor__full_name__icontains=text)
                | Q(actor__username__icontains=text)
            )
    audit.record(audit.Action.AUDIT_VIEWED, actor=request.user, query=request.GET.dict())
    page = Paginator(events, 50).get_page(request.GET.get("page"))
    return render(request, "accounts/audit.html", {"page": page, "form": form})
