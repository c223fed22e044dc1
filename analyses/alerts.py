"""Alerts about models that fare otherwise than before: the program raises, people answer."""

from collections.abc import Sequence

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import Site, User
from analyses.models import WatchAlert
from analyses.watching import Watched, outside, watch


@transaction.atomic
def alerts_raise(watched: Sequence[Watched]) -> list[WatchAlert]:
    """Raise what is new: one open alert for each measure of a model at a site, none for a week
    that had one."""
    raised = []
    for one, series, week in outside(watched):
        same = WatchAlert.objects.filter(
            site=one.site,
            model_version=one.model_version,
            measure=series.measure,
            label=series.label,
        )
        known = same.filter(acknowledged_at=None) | same.filter(week__gte=week.start)
        if known.exists():
            continue
        assert week.value is not None, "a week outside its band has a value"
        assert week.band is not None, "and a band"
        alert, created = WatchAlert.objects.get_or_create(
            site=one.site,
            model_version=one.model_version,
            measure=series.measure,
            label=series.label,
            week=week.start,
            defaults={
                "cells": week.cells,
                "value": week.value,
                "low": week.band[0],
                "high": week.band[1],
            },
        )
        if created:
            audit.record(
                audit.Action.ALERT_RAISED,
                actor=None,
                subject=alert,
                model=one.model_version.version,
                label_of_cells=series.label,
                value=round(week.value, 4),
                band=[round(limit, 4) for limit in week.band],
            )
            raised.append(alert)
    return raised


def alerts_look() -> None:
    """The daily look at every site."""
    alerts_raise(watch(Site.objects.all()))


@transaction.atomic
def alert_acknowledge(*, alert: WatchAlert, note: str, by: User) -> None:
    """A person has seen it and says what was found or done.

    Raises:
        ValidationError: the words are missing, or it has been acknowledged already.
    """
    alert = WatchAlert.objects.select_for_update().get(pk=alert.pk)
    if alert.acknowledged_at:
        raise ValidationError("It has been acknowledged already.")
    if not note.strip():
        raise ValidationError("Say what you have found or done.")
    alert.acknowledged_by, alert.acknowledged_at = by, timezone.now()
    alert.note = note.strip()
    alert.save(update_fields=["acknowledged_by", "acknowledged_at", "note"])
    audit.record(audit.Action.ALERT_ACKNOWLEDGED, actor=by, subject=alert, note=alert.note)
