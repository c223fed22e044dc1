"""Writes of the registry: versions, and what serves where. (Files in and out: `transfer.py`.)"""

import json
import shutil
import tempfile
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit
from accounts.models import Site, User
from inference.jobs.queue import job_create
from inference.ml.bundle import Bundle, BundleError, load_bundle
from inference.ml.trial import try_bundle
from inference.models import Comparison, Deployment, Job, ModelVersion
from inference.registry.gate import GateError, gate_of
from inference.registry.selectors import (
    active_model_version,
    bundle_folder,
    bundle_problem,
    newest_deployment,
    previous_of,
)


# --- Versions --------------------------------------------------------------------------------
def bundle_register(
    *,
    folder: Path,
    by: User | None,
    origin: ModelVersion.Origin = ModelVersion.Origin.IMPORTED,
    parent: ModelVersion | None = None,
) -> ModelVersion:
    """Check a bundle, copy it into the installation and give it a row. Idempotent by version.

    The installation serves from its own copy, so that replacing the shipped files (an update of
    the code, say) never changes a model behind a result.

    Raises:
        inference.ml.bundle.BundleError: the bundle does not load or its hashes differ.
    """
    bundle = load_bundle(folder)
    card = _storable_card(bundle)
    known = ModelVersion.objects.filter(version=bundle.version).first()
    if known and known.sha256 != bundle.sha256:
        raise BundleError(
            f"Another bundle is registered as {known}: give the new one a version of its own."
        )
    models_folder = Path(settings.MEDIA_ROOT) / "models"
    models_folder.mkdir(parents=True, exist_ok=True)
    target = models_folder / bundle.version
    if not _is_whole(target, bundle.sha256):
        with tempfile.TemporaryDirectory(dir=models_folder, prefix=".incoming-") as temporary:
            copy = Path(temporary) / "bundle"
            shutil.copytree(folder, copy)
            load_bundle(copy)  # what was copied is what was checked
            shutil.rmtree(target, ignore_errors=True)
            copy.rename(target)
    with transaction.atomic():
        version, created = ModelVersion.objects.get_or_create(
            version=bundle.version,
            defaults={
                "sha256": bundle.sha256,
                "card": card,
                "origin": origin,
                "parent": parent,
                "registered_by": by,
            },
        )
        if created:
            audit.record(
                audit.Action.MODEL_REGISTERED,
                actor=by,
                subject=version,
                origin=origin.value,
                parent=str(parent) if parent else None,
            )
    return version


def _storable_card(bundle: Bundle) -> dict[str, object]:
    """The card as the database keeps it, which knows neither NaN nor the character NUL."""
    card: dict[str, object] = json.loads(bundle.card.to_json())
    try:
        text = json.dumps(card, allow_nan=False)
    except ValueError as error:
        raise BundleError(
            f"The card of {bundle.version} holds figures that are no numbers. Train it again."
        ) from error
    if "\\u0000" in text:
        raise BundleError(f"The card of {bundle.version} holds the character NUL.")
    return card


def _is_whole(folder: Path, sha256: str) -> bool:
    try:
        return load_bundle(folder).sha256 == sha256
    except BundleError:
        return False


# --- Comparison ------------------------------------------------------------------------------
@transaction.atomic
def comparison_start(
    *, candidate: ModelVersion, baseline: ModelVersion, by: User | None
) -> Comparison:
    """Queue the comparison that the gate asks for. One of the same two that waits or runs is it.

    Raises:
        ValidationError: the two are one.
    """
    if candidate == baseline:
        raise ValidationError("A model cannot be compared with itself: choose another.")
    _lock()
    pending = Comparison.objects.filter(
        candidate=candidate,
        baseline=baseline,
        job__status__in=[Job.Status.QUEUED, Job.Status.RUNNING],
    ).first()
    if pending:
        return pending
    comparison = Comparison.objects.create(
        job=job_create(kind=Job.Kind.COMPARISON, by=by), candidate=candidate, baseline=baseline
    )
    audit.record(
        audit.Action.COMPARISON_STARTED, actor=by, subject=candidate, baseline=str(baseline)
    )
    return comparison


# --- What serves where -----------------------------------------------------------------------
def model_promote(
    *,
    model_version: ModelVersion,
    site: Site | None,
    reason: str,
    override_reason: str = "",
    expected_active: ModelVersion | None,
    by: User | None,
) -> Deployment:
    """Put a model in use at a site, or as the default for all (None), for samples from now on.

    Args:
        reason: why, in the person's words.
        override_reason: why although the gate was not passed; needed only then.
        expected_active: the model in use there when the person decided.

    Raises:
        inference.ml.bundle.BundleError: the files are not those that were registered, or do not
            answer. No reason overrides that.
        GateError: the gate was not passed, and no second reason is given.
        ValidationError: a reason is missing, or another person has changed the model meanwhile.
    """
    reason, override_reason = reason.strip(), override_reason.strip()
    if not reason:
        raise ValidationError("Say why this model is put in use.")
    _check_files(model_version)
    with transaction.atomic():
        _lock()
        _check_unchanged(site, expected_active)
        _check_change(model_version, site)
        gate = gate_of(model_version, expected_active)
        if gate.objection and not override_reason:
            raise GateError(
                f"{gate.objection} To put it in use all the same, give a second reason."
            )
        if gate.objection and override_reason == reason:
            raise ValidationError(
                "The second reason says the same as the first: say why the gate does not count."
            )
        deployment = Deployment.objects.create(
            model_version=model_version,
            site=site,
            reason=reason,
            override_reason=override_reason if gate.objection else "",
            comparison=gate.comparison,
            by=by,
        )
        audit.record(
            audit.Action.MODEL_ACTIVATED,
            actor=by,
            subject=model_version,
            site=site.name if site else None,
            before=str(gate.baseline) if gate.baseline else None,
            reason=reason,
            objection=gate.objection,
            override_reason=deployment.override_reason,
            checks=gate.comparison.result["checks"] if gate.comparison else [],
        )
    return deployment


def model_go_back(
    *, site: Site | None, expected_active: ModelVersion | None, by: User | None
) -> Deployment:
    """Undo the last change of a site's model, or of the default (None). Asks no gate.

    Raises:
        inference.ml.bundle.BundleError: the files of the model before cannot be used.
        ValidationError: there is none before, or another person has changed the model meanwhile.
    """
    before = previous_of(site)
    if before and before.model_version:
        _check_files(before.model_version)
    with transaction.atomic():
        _lock()
        _check_unchanged(site, expected_active)
        if before is None or before != previous_of(site):
            raise ValidationError("There is no model to go back to here.")
        reason = f"Went back from {expected_active}."
        if before.model_version is None:
            assert site is not None, "the default for all has no default to return to"
            return _return_to_default(site, reason, by, went_back=True)
        deployment = Deployment.objects.create(
            model_version=before.model_version, site=site, reason=reason, went_back=True, by=by
        )
        audit.record(
            audit.Action.MODEL_ACTIVATED,
            actor=by,
            subject=before.model_version,
            site=site.name if site else None,
            before=str(expected_active),
            reason=reason,
        )
    return deployment


@transaction.atomic
def site_return_to_default(
    *, site: Site, reason: str, expected_active: ModelVersion | None, by: User | None
) -> Deployment:
    """Have a site use the default for all again, for samples from now on.

    Raises:
        ValidationError: the reason is missing, the site has no model of its own, or another
            person has changed it meanwhile.
    """
    if not reason.strip():
        raise ValidationError("Say why the site returns to the default.")
    _lock()
    _check_unchanged(site, expected_active)
    own = newest_deployment(site)
    if own is None or own.model_version is None:
        raise ValidationError(f"{site} uses the default already.")
    return _return_to_default(site, reason.strip(), by)


def _return_to_default(
    site: Site, reason: str, by: User | None, *, went_back: bool = False
) -> Deployment:
    before = active_model_version(site)
    deployment = Deployment.objects.create(
        model_version=None, site=site, reason=reason, went_back=went_back, by=by
    )
    audit.record(
        audit.Action.SITE_RETURNED_TO_DEFAULT,
        actor=by,
        subject=site,
        before=str(before),
        now=str(active_model_version(site)),
        reason=reason,
    )
    return deployment


def _lock() -> None:
    """One change of what serves at a time: the first version stands for the whole registry.

    (SQLite takes its lock when the transaction begins.)
    """
    first = ModelVersion.objects.order_by("pk").select_for_update(no_key=True)
    list(first.values_list("pk")[:1])


def _check_files(model_version: ModelVersion) -> None:
    if problem := bundle_problem(model_version):
        raise problem
    try_bundle(bundle_folder(model_version))


def _check_unchanged(site: Site | None, expected: ModelVersion | None) -> None:
    """What the person saw in use when deciding is still in use."""
    now = active_model_version(site)
    if now == expected:
        return
    changes = [row for row in (newest_deployment(site), newest_deployment(None)) if row]
    last = max(changes, key=lambda row: row.pk)
    who = last.by or "The command line"
    raise ValidationError(
        f"{who} has put {now} in use meanwhile: look at it and decide anew. Nothing was changed."
    )


def _check_change(model_version: ModelVersion, site: Site | None) -> None:
    if site and active_model_version() is None:
        raise ValidationError("Put a model in use for all sites first.")
    newest = newest_deployment(site)
    if newest and newest.model_version == model_version:
        raise ValidationError(f"{model_version} is in use there already.")
