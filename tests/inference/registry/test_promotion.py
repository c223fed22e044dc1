"""Putting a model in use: by an explicit act, through the gate, recorded, and undone in one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from accounts.models import AuditEvent, Site, User
from accounts.permissions import Role
from inference.ml.bundle import TFLITE_NAME, BundleError
from inference.models import Comparison, Deployment, Job, ModelVersion
from inference.registry.gate import GateError
from inference.registry.selectors import (
    Status,
    active_model_version,
    bundle_folder,
    model_versions,
    previous_of,
    serving,
    standing_of,
)
from inference.registry.services import (
    bundle_register,
    model_go_back,
    model_promote,
    site_return_to_default,
)
from tests.bundles import make_bundle
from tests.factories import SiteFactory, UserFactory

pytestmark = [pytest.mark.unit, pytest.mark.django_db]

Register = Callable[[str], ModelVersion]


@pytest.fixture
def register(tmp_path: Path) -> Register:
    def register(version: str) -> ModelVersion:
        return bundle_register(folder=make_bundle(tmp_path / version, version), by=None)

    return register


@pytest.fixture
def admin() -> User:
    return UserFactory.create(role=Role.ADMIN)


@pytest.fixture
def first(register: Register, admin: User) -> ModelVersion:
    """The model in use for all."""
    version = register("first")
    promote(version, admin, expected=None)
    return version


def promote(
    version: ModelVersion, by: User | None, *, expected: ModelVersion | None, **told: Any
) -> Deployment:
    told = {"site": None, "reason": "It is better."} | told
    return model_promote(model_version=version, expected_active=expected, by=by, **told)


def compared(candidate: ModelVersion, baseline: ModelVersion, *, passed: bool) -> Comparison:
    check = {"name": "not worse", "passed": passed, "sentence": "It is no worse."}
    return Comparison.objects.create(
        job=Job.objects.create(kind=Job.Kind.COMPARISON, status=Job.Status.DONE),
        candidate=candidate,
        baseline=baseline,
        passed=passed,
        result={"checks": [check]},
    )


def test_a_candidate_passes_the_gate_and_all_is_recorded(
    first: ModelVersion, register: Register, admin: User
) -> None:
    second = register("second")
    comparison = compared(second, first, passed=True)
    deployment = promote(second, admin, expected=first, override_reason="not needed")
    assert active_model_version() == second
    assert (deployment.comparison, deployment.override_reason) == (comparison, "")
    event = AuditEvent.objects.filter(action="model_activated").latest("at")
    assert event.actor == admin
    assert event.details["before"] == "first"
    assert event.details["reason"] == "It is better."
    assert event.details["checks"] == comparison.result["checks"]
    assert event.details["objection"] == ""


@pytest.mark.parametrize("verdict", [None, False])
def test_without_a_passed_comparison_a_second_reason_is_needed(
    verdict: bool | None, first: ModelVersion, register: Register, admin: User
) -> None:
    second, third = register("second"), register("third")
    compared(second, third, passed=True)  # of another pair: says nothing here
    if verdict is not None:
        compared(second, first, passed=verdict)
    with pytest.raises(GateError, match="second"):
        promote(second, admin, expected=first)
    with pytest.raises(ValidationError, match="same as the first"):
        promote(second, admin, expected=first, override_reason=" It is better. ")
    assert active_model_version() == first
    deployment = promote(second, admin, expected=first, override_reason="No test set here.")
    assert deployment.override_reason == "No test set here."
    event = AuditEvent.objects.filter(action="model_activated").latest("at")
    assert event.details["override_reason"] == "No test set here."
    assert "first" in event.details["objection"]


def test_the_newest_verdict_counts(first: ModelVersion, register: Register, admin: User) -> None:
    second = register("second")
    compared(second, first, passed=True)
    compared(second, first, passed=False)
    with pytest.raises(GateError, match=r"did not pass beside first \(not worse\)"):
        promote(second, admin, expected=first)


def test_a_reason_is_needed(first: ModelVersion, register: Register, admin: User) -> None:
    with pytest.raises(ValidationError, match="Say why"):
        promote(register("second"), admin, expected=first, reason="  ")


def test_no_reason_overrides_a_tampered_bundle(
    first: ModelVersion, register: Register, admin: User
) -> None:
    second = register("second")
    compared(second, first, passed=True)
    (bundle_folder(second) / TFLITE_NAME).write_bytes(b"something else")
    with pytest.raises(BundleError, match="SHA-256 differs"):
        promote(second, admin, expected=first, override_reason="I want it.")
    assert active_model_version() == first


def test_a_card_exchanged_with_its_files_is_noticed(
    first: ModelVersion, register: Register, admin: User, tmp_path: Path
) -> None:
    second = register("second")
    folder = bundle_folder(second)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    make_bundle(folder, "second", temperature=2.0)
    with pytest.raises(BundleError, match="not those that were registered"):
        promote(second, admin, expected=first, override_reason="I want it.")


def test_no_reason_overrides_a_model_that_does_not_answer(
    first: ModelVersion, tmp_path: Path, admin: User
) -> None:
    import numpy as np

    folder = make_bundle(tmp_path / "nan", "nan", kernel=np.full((3, 2), np.nan))
    version = bundle_register(folder=folder, by=None)
    with pytest.raises(BundleError, match="not all numbers"):
        promote(version, admin, expected=first, override_reason="I want it.")


def test_what_changed_meanwhile_is_looked_at_first(
    first: ModelVersion, register: Register, admin: User
) -> None:
    second, third = register("second"), register("third")
    other = UserFactory.create(role=Role.ADMIN, full_name="Ada Admin")
    promote(second, other, expected=first, override_reason="Urgent.")
    with pytest.raises(ValidationError, match="Ada Admin has put second in use meanwhile"):
        promote(third, admin, expected=first, override_reason="Urgent, too.")
    with pytest.raises(ValidationError, match="Ada Admin has put second in use meanwhile"):
        model_go_back(site=None, expected_active=first, by=admin)
    assert active_model_version() == second


@pytest.mark.django_db(transaction=True)
def test_of_two_admins_at_once_one_decides(register: Register) -> None:
    first = register("first")
    promote(first, None, expected=None)
    candidates = [register("second"), register("third")]
    people = [UserFactory.create(role=Role.ADMIN) for _ in candidates]
    start = Barrier(2)

    def act(number: int) -> str:
        try:
            start.wait()
            promote(
                candidates[number], people[number], expected=first, override_reason="Now, please."
            )
        except ValidationError as error:
            return str(error.messages[0])
        finally:
            connection.close()
        return ""

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(act, range(2)))
    assert Deployment.objects.count() == 2
    winner = said.index("")
    assert active_model_version() == candidates[winner]
    assert said[1 - winner].startswith(
        f"{people[winner]} has put {candidates[winner]} in use meanwhile: look at it"
    )
    assert AuditEvent.objects.filter(action="model_activated").count() == 2


# --- Sites -----------------------------------------------------------------------------------
@pytest.fixture
def site() -> Site:
    return SiteFactory.create()


def test_a_site_has_its_own_model_and_returns_to_the_default(
    first: ModelVersion, register: Register, admin: User, site: Site
) -> None:
    second, other = register("second"), SiteFactory.create()
    promote(second, admin, site=site, expected=first, override_reason="Its own stain.")
    assert [active_model_version(s) for s in (None, site, other)] == [first, second, first]
    assert serving() == [(None, first), (site, second)]
    with pytest.raises(ValidationError, match="in use there already"):
        promote(second, admin, site=site, expected=second)

    site_return_to_default(site=site, reason="So.", expected_active=second, by=admin)
    assert active_model_version(site) == first
    assert serving() == [(None, first)]
    event = AuditEvent.objects.get(action="site_returned_to_default")
    assert event.details == {"before": "second", "now": "first", "reason": "So."}
    with pytest.raises(ValidationError, match="uses the default already"):
        site_return_to_default(site=site, reason="So.", expected_active=first, by=admin)


def test_a_site_may_keep_the_default_of_today(
    first: ModelVersion, register: Register, admin: User, site: Site
) -> None:
    promote(first, admin, site=site, expected=first)
    promote(register("second"), admin, expected=first, override_reason="For the others.")
    assert active_model_version(site) == first


def test_a_site_needs_a_default_behind_it(register: Register, admin: User, site: Site) -> None:
    with pytest.raises(ValidationError, match="for all sites first"):
        promote(register("first"), admin, site=site, expected=None)


def test_going_back_leads_to_what_was_before_and_never_forth(
    first: ModelVersion, register: Register, admin: User, site: Site
) -> None:
    assert previous_of(None) is None
    with pytest.raises(ValidationError, match="no model to go back to"):
        model_go_back(site=None, expected_active=first, by=admin)
    second = register("second")
    promote(second, admin, expected=first, override_reason="Try it.")
    third = register("third")
    promote(third, admin, expected=second, override_reason="Try that.")
    for expected, then in ((third, second), (second, first)):
        back = model_go_back(site=None, expected_active=expected, by=admin)
        assert back.reason == f"Went back from {expected}."
        assert active_model_version() == then
    assert previous_of(None) is None  # a model that was left comes back through the gate
    promote(third, admin, expected=first, override_reason="Again.")
    model_go_back(site=None, expected_active=third, by=admin)
    assert active_model_version() == first


def test_a_site_goes_back_to_the_default(
    first: ModelVersion, register: Register, admin: User, site: Site
) -> None:
    second = register("second")
    promote(second, admin, site=site, expected=first, override_reason="Try it.")
    model_go_back(site=site, expected_active=second, by=admin)
    assert active_model_version(site) == first
    assert AuditEvent.objects.filter(action="site_returned_to_default", actor=admin).exists()
    assert previous_of(site) is None


def test_nobody_goes_back_to_a_damaged_model(
    first: ModelVersion, register: Register, admin: User
) -> None:
    second = register("second")
    promote(second, admin, expected=first, override_reason="Try it.")
    (bundle_folder(first) / TFLITE_NAME).unlink()
    with pytest.raises(BundleError, match=r"lacks model\.tflite"):
        model_go_back(site=None, expected_active=second, by=admin)
    assert active_model_version() == second


def test_how_versions_stand(
    first: ModelVersion, register: Register, admin: User, site: Site
) -> None:
    second = register("second")
    register("third")
    promote(second, admin, site=site, expected=first, override_reason="Try it.")
    model_go_back(site=site, expected_active=second, by=admin)
    told = {str(one.version): (one.status, one.sites) for one in standing_of(model_versions())}
    assert told == {
        "first": (Status.ACTIVE, [None]),
        "second": (Status.RETIRED, []),
        "third": (Status.CANDIDATE, []),
    }
