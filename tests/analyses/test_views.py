"""The pages about samples: upload, list, one sample, pictures."""

import re
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from PIL import Image
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import AuditEvent, Site, User
from accounts.permissions import Role
from analyses import pipeline, reading
from analyses.models import Analysis, Cell, Prediction, Sample, SampleImage
from analyses.selectors import samples_to_look_at
from hematovision.files.upload_handlers import BoundedUploadHandler
from inference.ml.bundle import CARD_NAME, SCHEMA_VERSION
from inference.models import ModelVersion
from inference.registry.selectors import bundle_folder
from inference.registry.services import bundle_register
from tests.bundles import make_bundle
from tests.factories import (
    ModelVersionFactory,
    PredictionFactory,
    SampleFactory,
    SiteFactory,
    UserFactory,
    activate,
    analysed_sample,
    picture,
    smear,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def web(client: Client, technician: User) -> Client:
    client.force_login(technician)
    return client


def file(name: str, data: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data)


def post(client: Client, *files: SimpleUploadedFile, json: bool = True, **fields: object):  # type: ignore[no-untyped-def]
    site = Site.objects.first()
    data = {"batch": str(uuid4()), "site": site.pk if site else "", "images": list(files)}
    accept = "application/json" if json else "text/html"
    return client.post("/upload/", data | fields, headers={"Accept": accept})


# --- Upload ----------------------------------------------------------------------------------
def test_the_script_gets_an_outcome_for_each_file(web: Client, model: ModelVersion) -> None:
    answer = post(web, file("a.png", picture()), file("evil.png", b"MZ...")).json()
    sample = Sample.objects.get()
    assert answer["sample"]["accession_number"] == sample.accession_number
    assert answer["sample"]["results_url"] == f"/samples/{sample.pk}/results/"
    assert [(f["name"], f["outcome"]) for f in answer["files"]] == [
        ("a.png", "accepted"),
        ("evil.png", "refused"),
    ]
    assert "a Windows program" in answer["files"][1]["sentence"]


def test_requests_of_one_batch_make_one_sample(web: Client, model: ModelVersion) -> None:
    batch = str(uuid4())
    for number in range(3):
        data = picture(seed=number)
        post(web, file(f"{number}.png", data), batch=batch, accession_number="A-1")
    assert Sample.objects.get().images.count() == 3


def test_it_works_without_javascript(web: Client, model: ModelVersion) -> None:
    page = post(web, file("a.png", picture()), file("b.txt", b"text"), json=False)
    text = page.content.decode()
    assert page.status_code == 200
    assert "badge-accepted" in text
    assert "This is not a picture that can be read" in text
    assert reverse("analyses:sample", args=[Sample.objects.get().pk]) in text
    assert 'id="upload"' in text  # ready for the next batch


def test_no_file_and_a_taken_number_are_said_in_words(web: Client, site: Site) -> None:
    assert post(web).json()["error"] == "Choose one or more images first."
    SampleFactory.create(site=site, accession_number="A-1")
    response = post(web, file("a.png", picture()), accession_number="A-1")
    assert response.status_code == 422
    assert "exists already" in response.json()["error"]
    assert not SampleImage.objects.exists()


def test_images_join_an_existing_sample(web: Client, site: Site, model: ModelVersion) -> None:
    sample = SampleFactory.create(site=site)
    page = web.get(f"/upload/?sample={sample.pk}").content.decode()
    assert f"Add images to {sample}" in page
    post(web, file("a.png", picture()), sample=sample.pk)
    assert sample.images.get().file_name == "a.png"


def test_a_sample_or_site_of_others_cannot_be_uploaded_to(web: Client, site: Site) -> None:
    foreign = SampleFactory.create()
    assert post(web, file("a.png", picture()), sample=foreign.pk).status_code == 422
    assert post(web, file("a.png", picture()), site=foreign.site.pk).status_code == 422
    assert web.get(f"/upload/?sample={foreign.pk}").status_code == 404
    assert not SampleImage.objects.exists()


def test_a_file_above_the_limit_is_cut_off_and_refused(
    web: Client, settings: Settings, model: ModelVersion
) -> None:
    settings.UPLOAD_MAX_BYTES = 2**20
    good, huge = picture(), b"\0" * (8 * 2**20)
    answer = post(web, file("huge.bmp", huge), file("a.png", good)).json()
    assert [f["outcome"] for f in answer["files"]] == ["refused", "accepted"]
    assert "larger than 1 MB" in answer["files"][0]["sentence"]


def test_a_request_above_the_limit_is_refused_whole(web: Client, settings: Settings) -> None:
    settings.UPLOAD_MAX_REQUEST_BYTES = 1000
    response = post(web, file("a.png", picture(200, 200)), json=False)
    assert response.status_code == 400
    assert b"send fewer files in one go" in response.content


def test_too_many_files_are_refused_in_words(web: Client, settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = settings.UPLOAD_MAX_FILES = 2
    response = post(web, *(file(f"{n}.png", picture(seed=n)) for n in range(3)), json=False)
    assert response.status_code == 400
    assert b"send at most 2 at once" in response.content


def test_the_body_of_who_may_not_upload_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*args: object) -> None:
        pytest.fail("The body was read before the person was checked.")

    monkeypatch.setattr(BoundedUploadHandler, "handle_raw_input", read)
    admin = Client(enforce_csrf_checks=True)
    admin.force_login(UserFactory.create(role=Role.ADMIN))
    for client, status in ((Client(enforce_csrf_checks=True), 302), (admin, 403)):
        assert post(client, file("a.png", picture()), json=False).status_code == status


def test_the_name_a_person_gave_is_text_only(
    web: Client, model: ModelVersion, files_folder: Path
) -> None:
    name = "<img src=x onerror=alert(1)>.png"
    post(web, file(name, picture()))
    image = SampleImage.objects.get()
    page = web.get(f"/samples/{image.sample_id}/").content.decode()
    assert "&lt;img src=x" in page
    assert "<img src=x" not in page
    assert not [path for path in files_folder.rglob("*") if "img" in path.name]
    original = web.get(f"/images/{image.pk}/original/")
    assert original.content == picture()
    assert original["Content-Disposition"].startswith("attachment")
    assert original["X-Content-Type-Options"] == "nosniff"
    assert AuditEvent.objects.filter(action="image_downloaded").count() == 1


def test_a_person_without_a_site_is_told(client: Client) -> None:
    client.force_login(UserFactory.create(role=Role.TECHNICIAN))
    assert b"You belong to no site yet" in client.get("/upload/").content
    assert client.post("/example/").status_code == 302
    assert not Sample.objects.exists()


# --- The list --------------------------------------------------------------------------------
def listed(client: Client, query: str = "") -> list[str]:
    page = client.get(f"/samples/{query}").content.decode()
    return re.findall(r'sample-row-name"[^>]*>([^<]+)<', page)


def test_the_list_is_filtered_by_a_class_that_a_model_has_learned_here(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    model.card["classes"] = [*model.classes, "hairy cell"]
    model.save()
    sample = analysed_sample(site, technician, model)
    analysed_sample(site, technician, model)
    Prediction.objects.filter(cell__sample_image__sample=sample).update(label="hairy cell")
    assert listed(web, "?label=hairy+cell") == [str(sample)]
    assert listed(web, "?label=unheard+of") == []


def test_the_list_is_searched_filtered_and_sorted(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    colleague = UserFactory.create(sites=[site])
    old = analysed_sample(site, technician, model)
    new = analysed_sample(site, colleague, model)
    Sample.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=9))
    SampleImage.objects.filter(sample=old).update(file_name="strange.png")
    PredictionFactory.create(
        cell__sample_image=new.images.get(), cell__position=9, label="basophil", model_version=model
    )
    foreign = analysed_sample(SiteFactory.create(), UserFactory.create(), model)
    names = [str(new), str(old)]
    assert listed(web) == names
    assert listed(web, "?sort=created_at") == names[::-1]
    assert listed(web, f"?q={old.accession_number.lower()}") == [str(old)]
    assert listed(web, "?q=strange") == [str(old)]
    assert listed(web, "?label=basophil") == [str(new)]
    assert listed(web, f"?person={colleague.pk}") == [str(new)]
    assert listed(web, f"?since={timezone.now():%Y-%m-%d}") == [str(new)]
    assert listed(web, "?state=done") == names
    assert listed(web, "?state=failed") == []
    assert listed(web, f"?q={foreign.accession_number}") == []
    event = AuditEvent.objects.filter(action="samples_listed").order_by("at").first()
    assert event is not None
    assert sorted(event.details["samples"]) == sorted([old.pk, new.pk])


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        (["done", "running"], "analysing"),
        (["done", "queued"], "analysing"),
        (["done", "failed"], "failed"),
        (["done"], "done"),
        ([], "waiting"),
    ],
)
def test_the_state_of_a_sample(
    web: Client, site: Site, technician: User, model: ModelVersion, statuses: list[str], state: str
) -> None:
    sample = analysed_sample(site, technician, model, images=max(1, len(statuses)))
    if not statuses:
        Analysis.objects.all().delete()
    for analysis, status in zip(Analysis.objects.order_by("pk"), statuses, strict=False):
        Analysis.objects.filter(pk=analysis.pk).update(status=status)
    assert listed(web, f"?state={state}") == [str(sample)]
    other = "done" if state != "done" else "failed"
    assert listed(web, f"?state={other}") == []


def test_the_list_costs_a_fixed_number_of_queries(
    web: Client,
    site: Site,
    technician: User,
    model: ModelVersion,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    analysed_sample(site, technician, model)
    web.get("/samples/")
    with django_assert_num_queries(LIST_QUERIES):
        assert len(listed(web)) == 1
    for _ in range(24):
        analysed_sample(site, technician, model, images=2)
    web.get("/samples/")  # the session remembers what it was shown
    with django_assert_num_queries(LIST_QUERIES):
        assert len(listed(web)) == 20


LIST_QUERIES = 13
SAMPLE_QUERIES = 24


def test_a_sample_costs_a_fixed_number_of_queries(
    web: Client,
    site: Site,
    technician: User,
    model: ModelVersion,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    small = analysed_sample(site, technician, model)
    large = analysed_sample(site, technician, model, images=15, cells=6)
    for sample in (small, large):
        web.get(f"/samples/{sample.pk}/")
        with django_assert_num_queries(SAMPLE_QUERIES):
            web.get(f"/samples/{sample.pk}/")


# --- One sample ------------------------------------------------------------------------------
def test_a_page_leaves_one_event_and_its_polls_none(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, technician, model)
    web.get(f"/samples/{sample.pk}/")
    for _ in range(3):
        web.get(f"/samples/{sample.pk}/results/")
    web.get(f"/images/{sample.images.get().pk}/thumbnail/")
    assert AuditEvent.objects.filter(action="sample_viewed").count() == 1


def test_nothing_of_a_patient_is_shown_again_without_a_check(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, technician, model)
    assert web.get(f"/samples/{sample.pk}/")["Cache-Control"] == "no-store"
    address = f"/images/{sample.images.get().pk}/thumbnail/"
    first = web.get(address)
    assert first["Cache-Control"] == "private, no-cache"
    assert web.get(address, headers={"If-None-Match": first["ETag"]}).status_code == 304
    web.logout()
    assert web.get(address, headers={"If-None-Match": first["ETag"]}).status_code == 302


def test_results_without_the_page_leave_an_event(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, technician, model)
    web.get(f"/samples/{sample.pk}/results/")
    assert AuditEvent.objects.filter(action="sample_viewed").count() == 1


def test_a_poll_without_news_is_empty(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, technician, model)
    Analysis.objects.update(status="running")
    part = web.get(f"/samples/{sample.pk}/results/").content.decode()
    found = re.search(r"hx-get=\"([^\"]+)\"", part)
    assert found
    poll = found[1].replace("&amp;", "&")
    assert web.get(poll).status_code == 204
    Analysis.objects.update(status="done")
    news = web.get(poll)
    assert news.status_code == 200
    assert b"hx-get" not in news.content  # nothing is pending: the polls end


def test_no_confidence_is_called_certain(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, technician, model, cells=1)
    sample.images.get().cells.get().predictions.update(
        confidence=1.0, probabilities={"neutrophil": 1.0, "lymphocyte": 0.0}
    )
    page = web.get(f"/samples/{sample.pk}/").content.decode()
    assert "Very likely (over 99 %)" in page
    cells = page[page.index('<ol class="cells">') :]
    assert not re.search(r"\b100 %", cells)


def test_an_uncertain_cell_asks_for_review(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, technician, model, cells=1)
    sample.images.get().cells.get().predictions.update(confidence=0.61, flags=["uncertain"])
    page = web.get(f"/samples/{sample.pk}/").content.decode()
    assert "Uncertain, please review (61 %)" in page
    assert "The model is uncertain of 1 cell" in page


def test_an_unfamiliar_cell_is_in_no_class(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, technician, model, cells=4)
    first, second, *_ = sample.images.get().cells.all()
    first.predictions.update(flags=["unfamiliar"])
    second.predictions.update(flags=["uncertain", "unfamiliar", "border"])
    page = web.get(f"/samples/{sample.pk}/").content.decode()
    assert (
        "2 cells look unlike the cells the model was trained on, and are counted in no class"
        in page
    )
    assert "The model is uncertain of" not in page  # asked for review once is enough
    assert page.count("nearest class: Neutrophil") == 2
    assert "Cell 1: Unfamiliar" in page
    assert "4 cells, unfamiliar ones included" in page
    shares = re.findall(r"<strong>(\d)</strong>\s*<span class=.soft.>(\d+) %", page)
    assert shares == [("2", "50"), ("2", "50")]
    cell = page[page.index(f'id="cell-{first.pk}"') :].partition("</li>")[0]
    assert "Looks unlike the cells the model was trained on, please review" in cell
    assert "likely" not in cell
    assert '<svg class="bar"' not in cell


def test_samples_are_found_by_their_unfamiliar_cells(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    strange, known = (analysed_sample(site, technician, model, cells=1) for _ in range(2))
    strange.images.get().cells.get().predictions.update(flags=["unfamiliar"])
    assert listed(web, "?label=unfamiliar") == [str(strange)]
    assert listed(web, "?label=neutrophil") == [str(known)]
    row = web.get("/samples/?label=unfamiliar").content.decode()
    assert re.search(r'Unfamiliar <strong class="number">1</strong>', row)


def test_a_poor_picture_says_what_to_do(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, technician, model, images=2)
    first = Analysis.objects.order_by("pk")[0]
    Analysis.objects.filter(pk=first.pk).update(quality_flags=["blurred", "unusual_colour"])
    page = web.get(f"/samples/{sample.pk}/").content.decode()
    assert page.count("The picture is blurred: focus and take it again.") == 1
    assert "The colours are not those of a stained smear" in page
    assert "1 image is of poor quality" in page
    assert "1 poor image" in web.get("/samples/").content.decode()
    Analysis.objects.update(quality_flags=[])
    assert "poor" not in web.get(f"/samples/{sample.pk}/").content.decode()
    assert "poor" not in web.get("/samples/").content.decode()


def test_a_picture_that_was_not_measured_is_not_called_poor(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    """Those of a version before this one, which did not look."""
    sample = analysed_sample(site, technician, model)
    Analysis.objects.update(quality_flags=None)
    assert "poor" not in web.get(f"/samples/{sample.pk}/").content.decode()
    assert "poor" not in web.get("/samples/").content.decode()
    assert not samples_to_look_at(Sample.objects.all()).exists()


def test_a_flag_that_this_version_does_not_know_breaks_no_page(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, technician, model)
    Analysis.objects.update(quality_flags=["out_of_focus"])
    assert "Check the picture: out of focus." in web.get(f"/samples/{sample.pk}/").content.decode()


def test_a_model_that_did_not_look_for_unfamiliar_cells_says_so(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, technician, model)
    sentence = "The model of this sample did not check for unfamiliar cells."
    assert sentence in web.get(f"/samples/{sample.pk}/").content.decode()
    model.card["unfamiliarity"] = {"threshold": 0.1}
    model.save()
    assert sentence not in web.get(f"/samples/{sample.pk}/").content.decode()


def test_the_crop_of_a_sample_read_by_a_model_of_schema_1(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    model.card["preprocessing"] = {"size": 128, "context": 1.5, "background": 235}
    model.save()
    analysed_sample(site, technician, model, cells=1)
    response = web.get(f"/cells/{Cell.objects.get().pk}/crop/")
    assert response.status_code == 200
    assert response["Content-Type"] == "image/jpeg"


def test_a_failed_image_says_why_and_can_be_retried(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, technician, model, cells=0)
    Analysis.objects.update(status="failed", error="The stored file is damaged.")
    page = web.get(f"/samples/{sample.pk}/").content.decode()
    assert "The stored file is damaged." in page
    assert web.post(f"/analyses/{Analysis.objects.get().pk}/retry/").status_code == 302
    assert Analysis.objects.get().status == "queued"


# --- With the real model ---------------------------------------------------------------------
@pytest.fixture
def shipped_model() -> ModelVersion:
    return activate(bundle_register(folder=django_settings.MODEL_BUNDLE, by=None))


def work() -> None:
    while claimed := pipeline.claim(worker="test"):
        for analysis in claimed:
            reading.analyse(analysis)


def test_a_picture_goes_all_the_way(web: Client, shipped_model: ModelVersion) -> None:
    post(web, file("smear.png", smear(3, white_cells=2)))
    work()
    sample = Sample.objects.get()
    cells = list(Cell.objects.all())
    assert cells
    for cell in cells:
        said = cell.predictions.get()
        assert said.label in shipped_model.classes
        assert sum(said.probabilities.values()) == pytest.approx(1, abs=1e-4)
        assert said.confidence == max(said.probabilities.values())
    page = web.get(f"/samples/{sample.pk}/").content.decode()
    assert page.count('class="smear-box') == len(cells)
    crop = web.get(f"/cells/{cells[0].pk}/crop/")
    heat = web.get(f"/cells/{cells[0].pk}/heat-map/")
    for response in (crop, heat):
        assert response["Content-Type"] == "image/jpeg"
        assert "private" in response["Cache-Control"]
    plain, hot = (Image.open(BytesIO(r.content)).convert("RGB") for r in (crop, heat))
    assert hot.size == (192, 192)
    assert plain.resize(hot.size).tobytes() != hot.tobytes()
    assert web.get(f"/cells/{cells[0].pk}/heat-map/").content == heat.content


def test_a_heat_map_without_its_model_says_so(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    analysed_sample(site, technician, model, cells=1)
    response = web.get(f"/cells/{Cell.objects.get().pk}/heat-map/")
    assert response.status_code == 503
    assert response["Content-Type"].startswith("text/plain")
    assert response.content.decode().strip().endswith(".")


def test_a_model_of_whole_pictures_says_what_it_does_not(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    model.card |= {
        "preprocessing": {"context": 1.5, "region": "image"},
        "unfamiliarity": None,
        "training": {"no_explanation": "one takes too long with so large a network."},
    }
    model.save()
    sample = analysed_sample(site, technician, model, cells=2)
    main, other = Cell.objects.all()
    other.predictions.all().delete()
    page = web.get(f"/samples/{sample.pk}/").content.decode()
    assert "answers once for each in which a white cell is found" in page
    assert "did not check for unfamiliar cells" in page
    assert "No answer of its own" in page
    assert page.count("No heat map: one takes too long") == 1
    assert page.count('id="confirm-') == 1  # of the other there is nothing to confirm
    assert web.get(f"/cells/{main.pk}/heat-map/").status_code == 404


def test_a_heat_map_of_a_model_of_another_version_says_so(
    web: Client, site: Site, technician: User, tmp_path: Path
) -> None:
    old = bundle_register(folder=make_bundle(tmp_path / "bundle", "old"), by=None)
    card = bundle_folder(old) / CARD_NAME
    card.write_text(card.read_text().replace(f'"schema": {SCHEMA_VERSION}', '"schema": 1'))
    analysed_sample(site, technician, old, cells=1)
    response = web.get(f"/cells/{Cell.objects.get().pk}/heat-map/")
    assert response.status_code == 503
    assert "cannot run" in response.content.decode()
    assert "damaged" not in response.content.decode()


def test_the_example_is_marked_as_synthetic(web: Client, shipped_model: ModelVersion) -> None:
    response = web.post("/example/")
    sample = Sample.objects.get()
    assert response.headers["Location"] == f"/samples/{sample.pk}/"
    assert sample.is_synthetic
    work()
    page = web.get(f"/samples/{sample.pk}/").content.decode()
    assert "Synthetic example" in page
    assert Analysis.objects.filter(status="done").count() == 2
    assert Cell.objects.exists()


def test_home_by_role(client: Client, site: Site, technician: User) -> None:
    client.force_login(technician)
    assert client.get("/home/").headers["Location"] == "/upload/"
    activate(ModelVersionFactory.create())
    for role, word in ((Role.DOCTOR, b"Newest samples"), (Role.ADMIN, b"Queue")):
        client.force_login(UserFactory.create(role=role, sites=[site]))
        assert word in client.get("/home/").content


# --- What a review found once ----------------------------------------------------------------
def test_a_doctor_of_two_sites_adds_images_to_a_sample(client: Client, model: ModelVersion) -> None:
    sites = SiteFactory.create_batch(2)
    client.force_login(UserFactory.create(role=Role.DOCTOR, sites=sites))
    sample = SampleFactory.create(site=sites[1])
    page = client.get(f"/upload/?sample={sample.pk}").content.decode()
    batch = re.search(r'name="batch" value="([^"]+)"', page)
    assert batch
    fields = {"batch": batch[1], "sample": sample.pk, "images": [file("a.png", picture())]}
    response = client.post("/upload/", fields, headers={"Accept": "application/json"})
    assert response.status_code == 200
    assert sample.images.count() == 1
    del fields["sample"]
    response = client.post("/upload/", fields | {"images": [file("b.png", picture(seed=1))]})
    assert b"Choose the site" in response.content


def test_a_synthetic_example_takes_no_real_images(web: Client, site: Site) -> None:
    sample = SampleFactory.create(site=site, is_synthetic=True)
    assert web.get(f"/upload/?sample={sample.pk}").status_code == 404
    assert post(web, file("a.png", picture()), sample=sample.pk).status_code == 422
    assert b"Add images" not in web.get(f"/samples/{sample.pk}/").content


@pytest.mark.parametrize("pk", ["²", "x", "-1", "99999"])
def test_odd_sample_numbers_are_not_found(web: Client, pk: str) -> None:
    assert web.get("/upload/", {"sample": pk}).status_code == 404


def test_nul_characters_break_nothing(web: Client, site: Site) -> None:
    assert web.get("/samples/?x=%00&q=%00").status_code == 200
    assert (
        Client().post("/accounts/login/", {"username": "e\0", "password": "x"}).status_code == 200
    )


def test_a_picture_without_its_page_leaves_the_event(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    first, second = (analysed_sample(site, technician, model) for _ in range(2))
    web.get("/samples/")
    views = AuditEvent.objects.filter(action="sample_viewed")
    web.get(f"/images/{first.images.get().pk}/thumbnail/")  # the list has shown it
    assert views.count() == 0
    web.get(f"/images/{first.images.get().pk}/view/")
    web.get(f"/images/{first.images.get().pk}/view/")
    web.get(f"/cells/{second.images.get().cells.get(position=0).pk}/crop/")
    assert sorted(view.object_id for view in views) == sorted([str(first.pk), str(second.pk)])


def test_polls_do_not_keep_a_session_alive(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, technician, model)
    web.get(f"/samples/{sample.pk}/")
    session = web.session
    session["seen"] = 1
    session.save()
    web.get(f"/samples/{sample.pk}/results/?token=x")
    assert web.session["seen"] == 1
    web.get("/samples/")
    assert web.session["seen"] > 1


def test_the_pager_of_live_results_leads_to_the_sample(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, technician, model, images=21, cells=0)
    part = web.get(f"/samples/{sample.pk}/results/?token=old").content.decode()
    assert f'href="/samples/{sample.pk}/?page=2"' in part


def test_an_invalid_filter_finds_nothing(
    web: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    analysed_sample(site, technician, model)
    assert listed(web, "?since=garbage") == []


def test_doctors_see_first_what_needs_them(
    client: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    uncertain, calm = (analysed_sample(site, technician, model, cells=1) for _ in range(2))
    uncertain.images.get().cells.get().predictions.update(flags=["uncertain"])
    client.force_login(UserFactory.create(role=Role.DOCTOR, sites=[site]))
    page = client.get("/home/").content.decode()
    names = re.findall(r'sample-row-name"[^>]*>([^<]+)<', page)
    assert names == [str(uncertain), str(calm)]
    assert "1 uncertain" in page


def test_doctors_see_poor_pictures_and_unfamiliar_cells_first(
    client: Client, site: Site, technician: User, model: ModelVersion
) -> None:
    poor, strange, _ = (analysed_sample(site, technician, model, cells=1) for _ in range(3))
    Analysis.objects.filter(sample_image__sample=poor).update(quality_flags=["too_dark"])
    strange.images.get().cells.get().predictions.update(flags=["unfamiliar"])
    client.force_login(UserFactory.create(role=Role.DOCTOR, sites=[site]))
    page = client.get("/home/").content.decode()
    first, _, others = page.partition("Other samples")
    assert re.findall(r'sample-row-name"[^>]*>([^<]+)<', first) == [str(strange), str(poor)]
    assert others


def test_a_form_sent_after_the_session_leads_home_after_log_in(client: Client) -> None:
    response = client.post("/example/")
    assert response.headers["Location"] == "/accounts/login/?next=/home/"
