"""How models fare: counted by week, judged against their own first weeks, said once."""

from datetime import date, datetime, timedelta

import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from scipy.stats import binom

from accounts.models import AuditEvent, Site, User
from accounts.permissions import Role
from analyses import alerts, watching
from analyses.models import Cell, Prediction, Review, Sample, WatchAlert
from analyses.watching import Tally, band_of, judged, shares
from inference.models import ModelVersion
from tests.factories import SiteFactory, UserFactory, WatchAlertFactory, analysed_sample

pytestmark = [pytest.mark.unit, pytest.mark.django_db]

MONDAY = date(2026, 1, 5)
OVERRIDE, CONFIDENCE, UNFAMILIAR = WatchAlert.Measure


def weeks_ago(weeks: int) -> datetime:
    return timezone.now() - timedelta(weeks=weeks)


def reviewed(
    site: Site,
    by: User,
    model: ModelVersion,
    *,
    weeks: int = 0,
    right: int = 0,
    changed: int = 0,
    flags: tuple[str, ...] = (),
    label: str = "lymphocyte",
) -> Sample:
    """A sample whose cells people have answered so many weeks ago."""
    sample = analysed_sample(site, by, model, cells=right + changed)
    cells = list(Cell.objects.filter(sample_image__sample=sample))
    said = Prediction.objects.filter(cell__in=cells)
    said.update(created_at=weeks_ago(weeks), flags=list(flags))
    for place, cell in enumerate(cells):
        cell.review = Review.objects.create(
            cell=cell,
            label="neutrophil" if place < right else label,
            prediction=said.get(cell=cell),
            by=by,
            at=weeks_ago(weeks),
        )
        cell.save()
    return sample


def one(site: Site) -> watching.Watched:
    (found,) = watching.watch(Site.objects.filter(pk=site.pk))
    return found


# --- Counting --------------------------------------------------------------------------------
def test_changed_answers_are_counted_by_class_and_week(
    site: Site, technician: User, model: ModelVersion
) -> None:
    reviewed(site, technician, model, weeks=1, right=19, changed=3)
    reviewed(site, technician, model, right=4, changed=1)
    found = one(site)
    before, now = found.override.weeks
    assert (before.cells, before.hits) == (22, 3)
    assert before.value == pytest.approx(3 / 22)
    assert before.interval == pytest.approx((0.0475, 0.3333), abs=0.001)
    assert (now.cells, now.value) == (5, None)  # too few to show
    (neutrophils,) = found.classes
    assert (neutrophils.label, neutrophils.all_time.cells) == ("neutrophil", 27)
    assert neutrophils.overall == pytest.approx(4 / 27)


def test_what_is_no_answer_of_the_model_does_not_count(
    site: Site, technician: User, model: ModelVersion
) -> None:
    reviewed(site, technician, model, changed=3, flags=("unfamiliar",))
    reviewed(site, technician, model, changed=3, label="duplicate")
    example = reviewed(site, technician, model, changed=3)
    Sample.objects.filter(pk=example.pk).update(is_synthetic=True)
    reviewed(SiteFactory.create(), technician, model, changed=3)
    found = one(site)
    assert found.override.all_time.cells == 0
    assert found.unfamiliar.all_time == shares(6, 3)
    assert found.confidence.all_time.mean == pytest.approx(0.97)


def test_a_later_review_takes_the_place_of_the_first(
    site: Site, technician: User, model: ModelVersion
) -> None:
    sample = reviewed(site, technician, model, changed=1)
    cell = Cell.objects.get(sample_image__sample=sample)
    cell.review = Review.objects.create(
        cell=cell, label="neutrophil", prediction=cell.predictions.get(), by=technician
    )
    cell.save()
    assert one(site).override.all_time == shares(1, 0)


def test_the_queries_do_not_grow(
    technician: User, model: ModelVersion, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for place in (SiteFactory.create(), SiteFactory.create(), SiteFactory.create()):
        reviewed(place, technician, model, right=2)
    with django_assert_num_queries(5):
        assert len(watching.watch(Site.objects.all())) == 4  # with the technician's own


# --- Judging ---------------------------------------------------------------------------------
def by_week(*tallies: Tally) -> dict[date, Tally]:
    return {MONDAY + timedelta(weeks=at): tally for at, tally in enumerate(tallies)}


def test_the_first_weeks_are_the_band_and_are_not_judged() -> None:
    tallies = by_week(shares(60, 3), shares(60, 3), shares(60, 4), shares(60, 30), shares(10, 10))
    weeks = [*judged(OVERRIDE, tallies, until=MONDAY + timedelta(weeks=4))]
    assert [week.band is not None for week in weeks] == [False, False, True, True, True]
    assert [week.outside for week in weeks] == [False, False, False, True, False]
    assert weeks[-1].value is None  # ten cells say nothing, however they look


def test_fewer_changes_are_no_alarm_but_a_lower_confidence_is() -> None:
    many = shares(200, 100)
    weeks = [*judged(OVERRIDE, by_week(many, shares(200, 2)), until=MONDAY + timedelta(weeks=1))]
    assert not weeks[-1].outside
    sure, unsure = Tally(200, 190.0, 181.0), Tally(200, 150.0, 115.0)
    for later, outside in ((sure, False), (unsure, True)):
        weeks = [*judged(CONFIDENCE, by_week(sure, later), until=MONDAY + timedelta(weeks=1))]
        assert weeks[-1].outside == outside


def test_a_week_without_cells_is_there_and_empty() -> None:
    tallies = {MONDAY: shares(100, 5), MONDAY + timedelta(weeks=2): shares(100, 5)}
    weeks = [*judged(OVERRIDE, tallies, until=MONDAY + timedelta(weeks=2))]
    assert [week.cells for week in weeks] == [100, 0, 100]


def test_the_band_allows_for_chance() -> None:
    low, high = band_of(shares(100, 0), 50, is_share=True)
    assert low == 0
    assert 0.08 < high < 0.1  # four of 50 are no alarm after none of 100, five are
    wide, narrow = (band_of(shares(200, 20), cells, is_share=True) for cells in (20, 2000))
    assert wide[1] - wide[0] > narrow[1] - narrow[0]


@pytest.mark.parametrize("share", [0.005, 0.02, 0.05, 0.1, 0.4])
@pytest.mark.parametrize("cells", [20, 50, 400])
def test_chance_alone_seldom_leaves_the_band_whatever_the_share(share: float, cells: int) -> None:
    first = np.arange(101)
    highs = [band_of(shares(100, int(hits)), cells, is_share=True)[1] for hits in first]
    beyond = binom.sf(np.floor(np.array(highs) * cells + 1e-9), cells, share)
    assert (binom.pmf(first, 100, share) * beyond).sum() < 0.003  # of weeks


# --- Alerts ----------------------------------------------------------------------------------
@pytest.fixture
def drifted(site: Site, technician: User, model: ModelVersion) -> Site:
    reviewed(site, technician, model, weeks=3, right=100, changed=2)
    reviewed(site, technician, model, right=20, changed=20)
    return site


def test_an_alert_is_raised_once_and_again_after_it_was_answered(
    drifted: Site, technician: User, model: ModelVersion
) -> None:
    doctor = UserFactory.create(role=Role.DOCTOR, sites=[drifted])
    alerts.alerts_look()
    alerts.alerts_look()
    raised = WatchAlert.objects.order_by("label")
    assert [alert.label for alert in raised] == ["", "neutrophil"]
    assert AuditEvent.objects.filter(action="alert_raised").count() == 2
    alert = raised[0]
    assert (alert.cells, alert.value) == (40, 0.5)
    assert alert.high < 0.5
    with pytest.raises(ValidationError, match="found or done"):
        alerts.alert_acknowledge(alert=alert, note=" ", by=doctor)
    alerts.alert_acknowledge(alert=alert, note="A new stain.", by=doctor)
    alerts.alerts_look()
    assert WatchAlert.objects.count() == 2  # this week has had its alert
    WatchAlert.objects.filter(pk=alert.pk).update(week=alert.week - timedelta(weeks=1))
    alerts.alerts_look()
    assert WatchAlert.objects.count() == 3


def test_the_page_draws_tells_and_takes_the_answer(client: Client, drifted: Site) -> None:
    doctor = UserFactory.create(role=Role.DOCTOR, sites=[drifted])
    client.force_login(doctor)
    page = " ".join(client.get("/watch/").content.decode().split())
    assert "<polyline" in page
    assert "plot-dot-outside" in page
    assert "22/142" not in page
    assert "20/40 <strong>!</strong>" in page
    alert = WatchAlert.objects.get(label="")
    assert "Answers that people changed: 50.0 % in the week of" in page
    home = client.get("/home/").content.decode()
    assert "Answers that people changed" in home
    client.post(f"/watch/alerts/{alert.pk}/", {"note": "x" * 501})
    client.post(f"/watch/alerts/{alert.pk}/", {"note": "a\0b"})
    assert not WatchAlert.objects.get(pk=alert.pk).acknowledged_at
    client.post(f"/watch/alerts/{alert.pk}/", {"note": "A new stain."})
    alert.refresh_from_db()
    assert (alert.acknowledged_by, alert.note) == (doctor, "A new stain.")
    assert "A new stain." in client.get("/watch/").content.decode()


def test_another_sites_alerts_are_nobodys_business(client: Client, site: Site) -> None:
    doctor = UserFactory.create(role=Role.DOCTOR, sites=[site])
    foreign = WatchAlertFactory.create()
    client.force_login(doctor)
    assert str(foreign.site) not in client.get("/watch/").content.decode()
    assert str(foreign.site) not in client.get("/home/").content.decode()
    assert client.post(f"/watch/alerts/{foreign.pk}/", {"note": "x"}).status_code == 404
    assert not watching.alerts_for(UserFactory.create(role=Role.TECHNICIAN, sites=[site])).exists()
