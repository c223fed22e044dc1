"""docker-compose.yml, the Procfile, the settings and .env.example say the same."""

import re
from typing import Any

import pytest
import yaml

from scripts.supervisor import read_procfile
from tests.system import ROOT

pytestmark = pytest.mark.unit

COMPOSE = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]


@pytest.mark.parametrize("name", ["web", "worker", "training", "beat"])
def test_a_service_runs_the_command_of_the_procfile(name: str) -> None:
    assert SERVICES[name]["command"] == read_procfile(ROOT / "Procfile")[name]


def test_every_process_of_the_procfile_is_a_service() -> None:
    assert set(read_procfile(ROOT / "Procfile")) < set(SERVICES)


def test_every_variable_is_read_by_the_settings() -> None:
    readers = [
        (ROOT / file).read_text() for file in ("hematovision/settings.py", "gunicorn.conf.py")
    ]
    known = set(re.findall(r'env(?:\.\w+|iron\.get)\(\s*"(\w+)"', "\n".join(readers)))
    for service in read_procfile(ROOT / "Procfile"):
        assert set(SERVICES[service]["environment"]) <= known


def test_no_secret_has_a_default_and_the_example_names_them_all() -> None:
    wanted = set(re.findall(r"\$\{(\w+)", COMPOSE))
    assert wanted == set(re.findall(r"\$\{(\w+):\?", COMPOSE)), "a variable without :?"
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert set(example) == wanted
    assert set(example.values()) == {""}


def test_only_the_web_service_can_be_reached_and_only_from_this_machine() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"web": ["127.0.0.1:8000:8000"]}
