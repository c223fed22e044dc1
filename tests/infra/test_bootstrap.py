"""``manage.py bootstrap`` and ``activate_model``."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from accounts.models import AuditEvent, User
from inference.ml.bundle import CARD_NAME, SCHEMA_VERSION, TFLITE_NAME
from inference.models import Deployment, ModelVersion
from inference.registry.selectors import active_model_version, bundle_folder
from tests.bundles import make_bundle
from tests.system import passwords_in

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def installation(settings: Settings, tmp_path: Path) -> Path:
    """An installation whose shipped model is a small one."""
    settings.STATIC_ROOT = tmp_path / "static"
    settings.MODEL_BUNDLE = make_bundle(tmp_path / "shipped", "first")
    return tmp_path


def bootstrap(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    call_command("bootstrap")
    return capsys.readouterr()


def put_in_use(model: str) -> None:
    call_command("activate_model", model, reason="A test.", override="Nothing to compare on.")


def test_first_start_makes_people_and_puts_the_model_in_use(
    capsys: pytest.CaptureFixture[str], installation: Path
) -> None:
    output, errors = bootstrap(capsys)
    passwords = passwords_in(output)
    assert set(passwords) == {"admin", "technician", "doctor"}
    for person in User.objects.all():
        assert person.check_password(passwords[person.username])
    active = active_model_version()
    assert active
    assert active.version == "first"
    assert "Model in use: first" in output
    assert errors == ""
    assert (installation / "static").is_dir()


def test_second_start_changes_nothing_and_shows_no_password(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bootstrap(capsys)
    passwords = set(User.objects.values_list("username", "password"))
    output, errors = bootstrap(capsys)
    assert output == "Model in use: first\n"
    assert errors == ""
    assert set(User.objects.values_list("username", "password")) == passwords
    assert Deployment.objects.count() == 1


def test_a_newer_shipped_model_waits_for_a_person(
    capsys: pytest.CaptureFixture[str], settings: Settings, installation: Path
) -> None:
    bootstrap(capsys)
    settings.MODEL_BUNDLE = make_bundle(installation / "update", "second")
    output, _ = bootstrap(capsys)
    assert output == (
        "Model in use: first\n"
        "A newer model is shipped: second. To put it in use, compare it with the model in use "
        "on the models page.\n"
    )

    put_in_use("second")
    assert capsys.readouterr().out == "Model in use: second\n"
    assert bootstrap(capsys)[0] == "Model in use: second\n"


def test_an_older_shipped_model_is_not_advertised(
    capsys: pytest.CaptureFixture[str], settings: Settings, installation: Path
) -> None:
    bootstrap(capsys)
    shipped, settings.MODEL_BUNDLE = settings.MODEL_BUNDLE, make_bundle(installation / "own", "own")
    bootstrap(capsys)
    put_in_use("own")
    settings.MODEL_BUNDLE = shipped
    capsys.readouterr()
    assert bootstrap(capsys)[0] == "Model in use: own\n"


def test_without_a_model_one_line_and_the_system_starts(
    capsys: pytest.CaptureFixture[str], settings: Settings, installation: Path
) -> None:
    settings.MODEL_BUNDLE = installation / "nowhere"
    output, errors = bootstrap(capsys)
    assert len(passwords_in(output)) == 3
    assert errors.count("\n") == 1
    assert errors.startswith("The shipped model cannot be used: There is no model at")
    assert errors.endswith("Uploaded images are kept and wait for a model.\n")
    assert active_model_version() is None


def test_a_damaged_update_leaves_the_model_in_use(
    capsys: pytest.CaptureFixture[str], settings: Settings, installation: Path
) -> None:
    bootstrap(capsys)
    settings.MODEL_BUNDLE = make_bundle(installation / "update", "second")
    (settings.MODEL_BUNDLE / TFLITE_NAME).write_bytes(b"damaged")
    _, errors = bootstrap(capsys)
    assert errors.endswith("first stays in use.\n")
    assert [version.version for version in ModelVersion.objects.all()] == ["first"]


def test_a_model_of_another_schema_makes_way_for_the_shipped_one(
    capsys: pytest.CaptureFixture[str], settings: Settings, installation: Path
) -> None:
    bootstrap(capsys)
    first = active_model_version()
    assert first
    of_schema_1(first)
    settings.MODEL_BUNDLE = make_bundle(installation / "update", "second")
    output, errors = bootstrap(capsys)

    assert output == (
        "first was made by another version of the program and cannot be used any more: "
        "the shipped model takes its place.\nModel in use: second\n"
    )
    assert errors == ""
    event = AuditEvent.objects.filter(action="model_activated").latest("at")
    assert event.details["before"] == "first"
    assert event.details["override_reason"] == "The model before it cannot be used any more."
    assert bootstrap(capsys)[0] == "Model in use: second\n"


def of_schema_1(version: ModelVersion) -> ModelVersion:
    """Make the files of a registered model those of an earlier version of the program."""
    card = bundle_folder(version) / CARD_NAME
    card.write_text(card.read_text().replace(f'"schema": {SCHEMA_VERSION}', '"schema": 1'))
    return version


def test_a_model_that_cannot_run_is_not_said_to_stay_in_use(
    capsys: pytest.CaptureFixture[str], settings: Settings, installation: Path
) -> None:
    bootstrap(capsys)
    of_schema_1(ModelVersion.objects.get())
    settings.MODEL_BUNDLE = installation / "nowhere"
    output, errors = bootstrap(capsys)
    assert "in use" not in output + errors
    assert errors.endswith("Uploaded images are kept and wait for a model.\n")


def test_a_bundle_in_a_folder_is_registered_and_put_in_use(
    capsys: pytest.CaptureFixture[str], installation: Path
) -> None:
    bootstrap(capsys)
    adapted = make_bundle(installation / "adapted", "first-adapted")
    put_in_use(str(adapted))
    assert capsys.readouterr().out == "Model in use: first-adapted\n"
    active = active_model_version()
    assert active
    assert active.version == "first-adapted"
    (adapted / TFLITE_NAME).write_bytes(b"damaged")
    with pytest.raises(CommandError, match="adapted cannot be used: "):
        put_in_use(str(adapted))


def test_a_damaged_model_in_use_is_left_to_the_admin(
    capsys: pytest.CaptureFixture[str], settings: Settings, installation: Path
) -> None:
    bootstrap(capsys)
    first = active_model_version()
    assert first
    (bundle_folder(first) / TFLITE_NAME).write_bytes(b"damaged")
    settings.MODEL_BUNDLE = make_bundle(installation / "update", "second")

    assert bootstrap(capsys)[0].startswith("Model in use: first\n")


def test_activate_model_refuses_an_unknown_version(capsys: pytest.CaptureFixture[str]) -> None:
    bootstrap(capsys)
    with pytest.raises(CommandError, match=r"There is no model or folder 9\. Registered: first\."):
        put_in_use("9")


def test_the_gate_holds_for_the_command_too(
    capsys: pytest.CaptureFixture[str], installation: Path
) -> None:
    bootstrap(capsys)
    adapted = make_bundle(installation / "adapted", "second")
    with pytest.raises(CommandError, match=r"has not been compared with first.*\(--override\)"):
        call_command("activate_model", str(adapted), reason="It is newer.")
    with pytest.raises(CommandError, match="There is no site Nowhere"):
        call_command("activate_model", "first", reason="So.", site="Nowhere")
    active = active_model_version()
    assert active
    assert active.version == "first"
