"""What the documents say of the code is what the code says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.unit


def readme() -> str:
    return (ROOT / "README.md").read_text()


def variables() -> set[str]:
    """Every environment variable that the system reads."""
    found = set(
        re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (ROOT / "hematovision/settings.py").read_text())
    )
    for path in (ROOT / "gunicorn.conf.py", *(ROOT / "scripts").glob("*.py")):
        found |= set(re.findall(r'environ\.get\(\s*"([A-Z_]+)"', path.read_text()))
    return found - {"PATH"}


def test_every_setting_has_a_row_in_the_readme() -> None:
    rows = set(re.findall(r"^\| `([A-Z_]+)` \|", readme(), re.MULTILINE))
    assert rows == variables()


def test_every_library_has_a_row_in_the_readme() -> None:
    libraries: set[str] = set()
    for name in ("requirements-serve.txt", "requirements.txt"):
        lines = (ROOT / name).read_text().splitlines()
        libraries |= {
            match[1] for line in lines if (match := re.match(r"([\w-]+)(\[\w+\])?==", line))
        }
    rows = {row.lower() for row in re.findall(r"^\| ([\w-]+) \|", readme(), re.MULTILINE)}
    assert {name.lower() for name in libraries} <= rows


def test_links_in_the_documents_lead_somewhere() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
