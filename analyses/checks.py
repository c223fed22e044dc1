"""What an operator can get wrong in the settings of this app."""

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ValidationError

from analyses.models import Sample


@register()
def accession_format(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Two samples of one day must not be able to get one number."""
    field = Sample._meta.get_field("accession_number")
    day = datetime(2026, 1, 2, tzinfo=UTC)
    try:
        numbers = [
            settings.ACCESSION_FORMAT.format(date=date, number=number)
            for date, number in ((day, 1), (day, 2), (day.replace(day=3), 1), (day, 99_999))
        ]
        for number in numbers:
            field.run_validators(number)
        usable = len(set(numbers)) == len(numbers)
    except (KeyError, ValueError, IndexError, AttributeError, ValidationError):
        usable = False
    if usable:
        return []
    return [
        Error(
            f"ACCESSION_FORMAT {settings.ACCESSION_FORMAT!r} cannot number samples.",
            hint="Use {date:%y%m%d} and {number:04d}, as in HV-{date:%y%m%d}-{number:04d}.",
            id="analyses.E001",
        )
    ]


@register()
def lease(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A lease shorter than the slowest picture would hand a living worker's work to another."""
    if settings.ANALYSIS_LEASE_SECONDS >= 2 and settings.ANALYSIS_MAX_ATTEMPTS >= 1:
        return []
    return [
        Error(
            "ANALYSIS_LEASE_SECONDS must be 2 or more and ANALYSIS_MAX_ATTEMPTS 1 or more.",
            id="analyses.E002",
        )
    ]
