"""The registry's pages, in the hands of an admin."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, Site, User
from accounts.permissions import Role
from inference.ml.bundle import TFLITE_NAME
from inference.models import Comparison, Deployment, Job, ModelVersion, SiteValidation
from inference.registry.selectors import active_model_version, bundle_folder, report_path
from inference.registry.services import bundle_register
from tests.bundles import make_bundle
from tests.factories import (
    ModelVersionFactory,
    SiteFactory,
    UserFactory,
    activate,
    dataset_version,
)

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
def web(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


@pytest.fixture
def first(register: Register) -> ModelVersion:
    return activate(register("first"))


def text(response: object) -> str:
    return " ".join(response.content.decode().split())  # type: ignore[attr-defined]


def passed(candidate: ModelVersion, baseline: ModelVersion) -> Comparison:
    return Comparison.objects.create(
        job=Job.objects.create(kind=Job.Kind.COMPARISON, status=Job.Status.DONE),
        candidate=candidate,
        baseline=baseline,
        passed=True,
        result={"checks": [{"name": "files", "passed": True, "sentence": "All are there."}]},
    )


def test_from_the_comparison_to_a_model_in_use_and_back(
    web: Client, first: ModelVersion, register: Register
) -> None:
    second = register("second")
    page = text(web.get(f"/models/{second.pk}/"))
    assert "not compared" in page
    response = web.post(f"/models/{second.pk}/compare/", {"baseline": first.pk})
    assert response.headers["Location"] == f"/models/{second.pk}/beside/?other={first.pk}"
    assert "Comparison of two models" in text(web.get(response.headers["Location"]))
    Job.objects.all().update(status=Job.Status.DONE)

    promote = f"/models/{second.pk}/promote/"
    assert "The gate is closed." in text(web.get(promote))
    told = {"expected": first.pk, "reason": "It is better."}
    refused = web.post(promote, told)
    assert refused.status_code == 422
    assert "give a second reason" in text(refused)
    passed(second, first)
    assert "The gate is open" in text(web.get(promote))
    assert web.post(promote, told).status_code == 302
    assert active_model_version() == second

    page = text(web.get("/models/"))
    assert "Go back to first" in page
    assert "It is better." in page
    web.post("/models/go-back/", {"expected": second.pk})
    assert active_model_version() == first
    assert "Retired" in text(web.get(f"/models/{second.pk}/"))


def test_a_page_that_is_out_of_date_changes_nothing(
    web: Client, first: ModelVersion, register: Register
) -> None:
    second, third = register("second"), register("third")
    told = {"expected": first.pk, "reason": "So.", "override_reason": "Because."}
    assert web.post(f"/models/{second.pk}/promote/", told).status_code == 302
    refused = web.post(f"/models/{third.pk}/promote/", told)
    assert refused.status_code == 422
    assert "has put second in use meanwhile" in text(refused)
    page = text(web.post("/models/go-back/", {"expected": first.pk}, follow=True))
    assert "has put second in use meanwhile" in page
    assert active_model_version() == second


def test_a_site_of_its_own_and_the_default_again(
    web: Client, first: ModelVersion, register: Register
) -> None:
    here, _ = SiteFactory.create_batch(2)
    second, third = register("second"), register("third")
    for version, before in ((second, first), (third, second)):
        told = {"site": here.pk, "expected": before.pk, "reason": "So.", "override_reason": "Yes."}
        assert web.post(f"/models/{version.pk}/promote/", told).status_code == 302
    page = text(web.get("/models/"))
    assert "Return to the default" in page
    assert "without the gate</span> Yes." in page
    web.post("/models/return/", {"site": here.pk, "expected": third.pk, "reason": "It drifts."})
    assert active_model_version(here) == first
    assert Deployment.objects.filter(site=here).count() == 3
    page = text(web.post("/models/return/", {"expected": third.pk, "reason": "x"}, follow=True))
    assert "Choose a site." in page


@pytest.mark.parametrize("reason", ["", "x" * 501, "a\0b"])
def test_a_reason_is_bounded_whatever_the_page_says(
    web: Client, first: ModelVersion, reason: str
) -> None:
    here = SiteFactory.create()
    Deployment.objects.create(model_version=first, site=here)
    told = {"site": here.pk, "expected": first.pk, "reason": reason}
    assert web.post("/models/return/", told).status_code == 302
    assert Deployment.objects.filter(site=here).count() == 1


def test_an_unknown_site_is_refused(web: Client, first: ModelVersion, register: Register) -> None:
    second = register("second")
    for site in ("999999", "x", "9" * 30):
        assert web.get(f"/models/{second.pk}/promote/", {"site": site}).status_code == 404


def test_a_tampered_model_is_named_on_its_pages(
    web: Client, first: ModelVersion, register: Register
) -> None:
    second = register("second")
    (bundle_folder(second) / TFLITE_NAME).write_bytes(b"something else")
    assert "SHA-256 differs" in text(web.get(f"/models/{second.pk}/"))
    assert "It cannot be put in use" in text(web.get(f"/models/{second.pk}/promote/"))
    assert "SHA-256 differs" not in text(web.get("/models/"))
    (bundle_folder(first) / TFLITE_NAME).unlink()
    assert "lacks model.tflite" in text(web.get("/models/"))


def test_the_list_costs_the_same_with_many_sites(
    web: Client,
    first: ModelVersion,
    django_assert_max_num_queries: Callable[[int], object],
) -> None:
    SiteFactory.create_batch(8)
    ModelVersionFactory.create_batch(5)
    with django_assert_max_num_queries(14):  # type: ignore[attr-defined]
        web.get("/models/")
    with django_assert_max_num_queries(18):  # type: ignore[attr-defined]
        web.get(f"/models/{first.pk}/")
    candidate = ModelVersion.objects.latest("pk")
    with django_assert_max_num_queries(18):  # type: ignore[attr-defined]
        web.get(f"/models/{candidate.pk}/")


def test_two_cards_side_by_side(web: Client, first: ModelVersion, register: Register) -> None:
    second = register("second")
    for version, value in ((first, 0.5), (second, 0.75)):
        figure = {"value": value, "interval": [0.25, 1]}
        version.card["metrics"] = {"ours": {"accuracy": figure}, "bad": 7}
        version.save()
    page = text(web.get(f"/models/{second.pk}/beside/"))
    assert "75.0 % (25.0–100.0)" in page
    assert "50.0 % (25.0–100.0)" in page
    assert "They have not been compared." in page
    assert web.get(f"/models/{second.pk}/beside/?other=999").status_code == 404


def test_a_report_may_show_itself_and_nothing_else(web: Client, first: ModelVersion) -> None:
    response = web.get(f"/models/{first.pk}/report/", follow=True)
    assert "no report yet" in text(response)
    report_path(first).parent.mkdir(parents=True)
    report_path(first).write_text("<style>p{color:red}</style><p>All of it")
    response = web.get(f"/models/{first.pk}/report/")
    policy = response["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'; style-src 'unsafe-inline'")
    assert "script" not in policy
    assert b"All of it" in response.getvalue()
    assert "Whole report" in text(web.get(f"/models/{first.pk}/"))


def test_a_card_of_any_shape_does_not_break_the_pages(web: Client) -> None:
    odd = {
        "classes": ["a", "b"],
        "preprocessing": {},
        "metrics": {"x": 5, "y": {"accuracy": "high", "classes": [1]}, "z": None},
        "network": {"backbone": ["?"]},
        "unfamiliarity": {"threshold": "?", "share": []},
        "created": 3,
        "training": {},
        "dataset": {"groups_unknown": 5},
    }
    version = ModelVersionFactory.create(card=odd)
    other = ModelVersionFactory.create(card=odd | {"metrics": []})
    for page in ("", f"{version.pk}/", f"{other.pk}/", f"{version.pk}/beside/"):
        assert web.get(f"/models/{page}").status_code == 200


def test_what_a_download_gives_is_recorded(web: Client, admin: User, first: ModelVersion) -> None:
    response = web.get(f"/models/{first.pk}/file/", {"name": TFLITE_NAME})
    assert response.getvalue() == (bundle_folder(first) / TFLITE_NAME).read_bytes()
    assert 'filename="first-model.tflite"' in response["Content-Disposition"]
    event = AuditEvent.objects.get(action="model_exported")
    assert (event.actor, event.object_label, event.details) == (
        admin,
        "first",
        {"file": TFLITE_NAME},
    )
    for name in ("../first/card.json", "secret_key", ""):
        assert web.get(f"/models/{first.pk}/file/", {"name": name}).status_code == 302
    assert AuditEvent.objects.filter(action="model_exported").count() == 1


def test_a_person_of_one_site_reads_no_site_names(
    web: Client, first: ModelVersion, register: Register
) -> None:
    """With one site only, it is not shown anywhere."""
    Site.objects.all().delete()
    site = SiteFactory.create()
    assert site.name not in text(web.get("/models/"))
    assert site.name not in text(web.get(f"/models/{register('second').pk}/"))


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("fit", "validated there"), ("not_fit", "accepted there against the verdict")],
)
def test_a_verdict_is_not_hidden_by_its_acceptance(
    web: Client, first: ModelVersion, verdict: str, words: str
) -> None:
    here, _ = SiteFactory.create_batch(2)
    SiteValidation.objects.create(
        site=here,
        model_version=first,
        dataset_version=dataset_version(each=1),
        job=Job.objects.create(kind=Job.Kind.SITE_VALIDATION, status=Job.Status.DONE),
        figures={"verdict": verdict},
        accepted_at=timezone.now(),
    )
    page = text(web.get(f"/models/{first.pk}/"))
    assert words in page
    assert ("validated there" in page) == (verdict == "fit")
