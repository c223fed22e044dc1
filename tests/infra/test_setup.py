"""scripts/setup.py: the virtual environment and what goes into it."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from scripts import setup

pytestmark = pytest.mark.unit


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, pointed at an empty folder with requirements of nothing."""
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    (tmp_path / "constraints.txt").write_text("")
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(setup, "VENV_PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(sys, "argv", ["setup.py", "requirements.txt"])
    return setup


@pytest.mark.parametrize("version", [(3, 6), (3, 10), (3, 14), (4, 0)])
def test_unsupported_python_gets_one_clear_line(
    version: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SystemExit) as stop:
        setup.use_supported_python()
    assert str(stop.value).startswith(
        f"HematoVision needs Python 3.11 to 3.13, this is {version[0]}.{version[1]} ("
    )


def test_another_supported_python_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced_by: list[str] = []

    def replace_process(program: str, _arguments: list[str]) -> None:
        replaced_by.append(program)
        raise SystemExit

    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    monkeypatch.setattr(
        shutil, "which", lambda name: sys.executable if name == "python3.12" else None
    )
    monkeypatch.setattr("os.execv", replace_process)
    with pytest.raises(SystemExit):
        setup.use_supported_python()
    assert replaced_by == [sys.executable]


def test_syntax_is_read_by_an_old_python() -> None:
    source = Path(setup.__file__).read_text()
    compile(source, setup.__file__, "exec", dont_inherit=True, _feature_version=6)


@pytest.mark.slow
def test_second_call_installs_nothing(
    installation: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installation.main()
    assert "Installing requirements.txt" in capsys.readouterr().out

    installation.main()
    assert capsys.readouterr().out == ""

    (installation.ROOT / "requirements.txt").write_text("# something else\n")
    installation.main()
    assert "Installing requirements.txt" in capsys.readouterr().out


@pytest.mark.slow
def test_a_broken_environment_is_made_anew(installation: ModuleType) -> None:
    python = installation.VENV_PYTHON
    python.parent.mkdir(parents=True)
    python.symlink_to("gone")  # a Python that was removed, or an installation that broke off
    installation.main()
    assert subprocess.call([python, "-c", "import pip"]) == 0


def test_without_network_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        setup.explain_failure("WARNING: Retrying after NewConnectionError(...)\nERROR: No matching")
    assert "is this machine connected to the internet?" in str(stop.value)
    assert capsys.readouterr().err == ""


def test_other_failures_show_what_pip_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        setup.explain_failure("Collecting x\nERROR: No space left on device\n")
    assert "install.log" in str(stop.value)
    assert capsys.readouterr().err == "ERROR: No space left on device\n"
