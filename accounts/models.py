"""People, the sites they work for, and the trail of what they did."""

import uuid
from typing import Any, ClassVar, NoReturn, TypeVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.permissions import Role

T = TypeVar("T", bound=models.Model)


class Site(models.Model):
    """A laboratory or clinic. People see the samples of their sites."""

    name = models.CharField(max_length=120, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(username__iexact=username)


class User(AbstractBaseUser):
    """A person with one role. No groups and superusers of Django's: one way to be allowed."""

    # No "@": people log in with either name, so one person's user name must not be able to equal
    # another's e-mail address.
    username = models.CharField(
        "user name",
        max_length=60,
        validators=[RegexValidator(r"^[\w.+-]+\Z", "Use letters, digits and . + - _ only.")],
    )
    email = models.EmailField("e-mail")
    full_name = models.CharField(max_length=120)
    role = models.CharField(max_length=20, choices=Role.choices, blank=True)
    sites = models.ManyToManyField(Site, related_name="people", blank=True)
    is_active = models.BooleanField("active", default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["email", "full_name"]

    class Meta:
        ordering = ("full_name",)
        constraints = (
            models.UniqueConstraint(
                Lower("username"),
                name="user_username_unique",
                violation_error_message="A person with this user name exists already.",
            ),
            models.UniqueConstraint(
                Lower("email"),
                name="user_email_unique",
                violation_error_message="A person with this e-mail exists already.",
            ),
        )

    def __str__(self) -> str:
        return self.full_name or self.username

    def get_full_name(self) -> str:
        return self.full_name


class AppendOnlyError(RuntimeError):
    """Somebody tried to change or delete what is only ever added to."""


class AppendOnlyQuerySet(models.QuerySet[T]):
    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError(f"{self.model.__name__} rows are never changed or deleted.")

    update = delete = bulk_update = _refuse


class Action(models.TextChoices):
    LOGIN = "login", "Logged in"
    LOGIN_FAILED = "login_failed", "Log-in failed"
    LOGOUT = "logout", "Logged out"
    PASSWORD_CHANGED = "password_changed", "Password changed"
    ACCESS_DENIED = "access_denied", "Access denied"
    PERSON_CREATED = "person_created", "Person added"
    PERSON_CHANGED = "person_changed", "Person changed"
    SITE_CREATED = "site_created", "Site added"
    SITE_CHANGED = "site_changed", "Site changed"
    PEOPLE_VIEWED = "people_viewed", "People viewed"
    AUDIT_VIEWED = "audit_viewed", "Audit trail viewed"
    SAMPLE_CREATED = "sample_created", "Sample created"
    SAMPLE_VIEWED = "sample_viewed", "Sample viewed"
    SAMPLES_LISTED = "samples_listed", "Samples listed"
    IMAGE_UPLOADED = "image_uploaded", "Image uploaded"
    IMAGE_REFUSED = "image_refused", "Image refused"
    IMAGE_DOWNLOADED = "image_downloaded", "Original image downloaded"
    ANALYSIS_DONE = "analysis_done", "Analysis done"
    ANALYSIS_FAILED = "analysis_failed", "Analysis failed"
    ANALYSIS_RETRIED = "analysis_retried", "Analysis retried"
    MODEL_REGISTERED = "model_registered", "Model registered"
    MODEL_ACTIVATED = "model_activated", "Model activated"
    SAMPLES_CHANGED_OVER = "samples_changed_over", "Waiting samples changed over to a model"
    SITE_RETURNED_TO_DEFAULT = "site_returned_to_default", "Site returned to the default model"
    MODEL_EXPORTED = "model_exported", "Model downloaded"
    EDGE_EXPORT_STARTED = "edge_export_started", "Export for small devices started"
    KERAS_FILE_RECEIVED = "keras_file_received", "Keras file received"
    KERAS_IMPORT_STARTED = "keras_import_started", "Import of a Keras model started"
    JOB_DONE = "job_done", "Work done"
    JOB_FAILED = "job_failed", "Work failed"
    JOB_STOPPED = "job_stopped", "End of work asked for"
    JOB_CANCELLED = "job_cancelled", "Work cancelled"
    JOB_RETRIED = "job_retried", "Work tried again"
    DATASET_CREATED = "dataset_created", "Dataset created"
    DATASET_CHANGED = "dataset_changed", "Dataset changed"
    DATASET_UPLOAD_DISCARDED = "dataset_upload_discarded", "Upload of a dataset thrown away"
    DATASET_VERSION_STARTED = "dataset_version_started", "Dataset version begun"
    DATASET_IMPORTED = "dataset_imported", "Dataset version imported"
    DATASET_VIEWED = "dataset_viewed", "Dataset viewed"
    TRAINING_STARTED = "training_started", "Training started"
    COMPARISON_STARTED = "comparison_started", "Comparison of models started"
    SITE_VALIDATION_STARTED = "site_validation_started", "Validation at a site started"
    ADAPTATION_STARTED = "adaptation_started", "Adaptation to a site started"
    SITE_VALIDATED = "site_validated", "Model accepted for a site"
    CELL_REVIEWED = "cell_reviewed", "Cell reviewed"
    CORRECTIONS_HANDED_OVER = "corrections_handed_over", "Corrections handed over to a dataset"
    ALERT_RAISED = "alert_raised", "A model left its band"
    ALERT_ACKNOWLEDGED = "alert_acknowledged", "Alert acknowledged"
    CONSENT_CHANGED = "consent_changed", "Consent to training changed"
    REANALYSIS_STARTED = "reanalysis_started", "Re-analysis started"


def action_choices() -> list[tuple[str, str]]:
    """A callable, so that a new act needs no migration."""
    return Action.choices


class AuditEvent(models.Model):
    """Who did what to which object, when and from where. Written by :mod:`accounts.audit` only."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    actor_role = models.CharField(max_length=20, blank=True)
    action = models.CharField(max_length=60, choices=action_choices, db_index=True)
    object_type = models.CharField(max_length=60, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    object_label = models.CharField(max_length=200, blank=True)
    details = models.JSONField(default=dict)
    address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=300, blank=True)

    objects = AppendOnlyQuerySet["AuditEvent"].as_manager()

    class Meta:
        ordering = ("-at",)
        indexes = (models.Index(fields=["object_type", "object_id"]),)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.action} {self.object_label}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnlyError("AuditEvent rows are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError("AuditEvent rows are never deleted.")
