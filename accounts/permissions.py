"""Who may do what: one enum, each member naming its roles, and the one checker."""

from enum import Enum
from typing import TYPE_CHECKING, Union

from django.db import models

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

    from accounts.models import User


class Role(models.TextChoices):
    TECHNICIAN = "technician", "Technician"
    DOCTOR = "doctor", "Doctor"
    ADMIN = "admin", "Admin"


class Permission(Enum):
    """An act, in words that end the sentence "you may not …", and the roles that may do it."""

    VIEW_SAMPLES = ("look at samples", {Role.TECHNICIAN, Role.DOCTOR, Role.ADMIN})
    UPLOAD_IMAGES = ("upload images", {Role.TECHNICIAN, Role.DOCTOR})
    RETRY_ANALYSES = ("retry a failed analysis", {Role.TECHNICIAN, Role.DOCTOR, Role.ADMIN})
    MANAGE_PEOPLE = ("manage people and sites", {Role.ADMIN})
    REVIEW_CELLS = ("review cells", {Role.TECHNICIAN, Role.DOCTOR})
    REANALYSE = ("have a sample analysed again", {Role.DOCTOR, Role.ADMIN})
    VIEW_MODELS = ("look at the models", {Role.ADMIN})
    MANAGE_DATASETS = ("manage datasets", {Role.ADMIN})
    TRAIN_MODELS = ("train models", {Role.ADMIN})
    PROMOTE_MODELS = ("put models in use", {Role.ADMIN})
    FOLLOW_JOBS = ("follow imports, trainings and the like", {Role.DOCTOR, Role.ADMIN})
    VALIDATE_MODELS = ("validate a model at a site", {Role.DOCTOR, Role.ADMIN})
    WATCH_MODELS = ("watch how models fare", {Role.DOCTOR, Role.ADMIN})
    VIEW_AUDIT = ("read the audit trail", {Role.ADMIN})

    def __init__(self, act: str, roles: set[Role]) -> None:
        self.act = act
        self.roles = frozenset(roles)

    @property
    def role_names(self) -> str:
        """The roles as a phrase, e.g. "technicians and doctors"."""
        names = [f"{role.label.lower()}s" for role in Role if role in self.roles]
        return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def has_permission(person: Union["User", "AnonymousUser"], permission: Permission) -> bool:
    """The one check that pages, files, the API and templates use. Denied by default."""
    return (
        person.is_authenticated
        and person.is_active
        and getattr(person, "role", "") in permission.roles
    )
