"""Makes .venv and installs a requirements file into it; a second call takes no time.

    python3 scripts/setup.py requirements.txt

Standard library only, and in a syntax that an old Python still reads: it shall get one clear line
instead of a syntax error.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
NETWORK_ERRORS = ("NewConnectionError", "NameResolutionError", "ConnectTimeout", "ProxyError")


def main() -> None:
    if len(sys.argv) != 2 or not (ROOT / sys.argv[1]).is_file():
        sys.exit("Usage: python3 scripts/setup.py REQUIREMENTS_FILE")
    requirements = sys.argv[1]
    use_supported_python()
    if not venv_works():
        make_venv()
    stamp = VENV / (requirements + ".installed")
    fingerprint = fingerprint_of_requirements()
    if not stamp.exists() or stamp.read_text() != fingerprint:
        install(requirements)
        stamp.write_text(fingerprint)


def use_supported_python() -> None:
    """Go on with this Python, or as another one that is installed, or stop with one line."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        other = shutil.which("python3.{}".format(minor))
        if other and subprocess.call([other, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(other, [other] + sys.argv)
    sys.exit(
        "HematoVision needs Python {}.{} to {}.{}, this is {}.{} ({}).".format(
            *(OLDEST + NEWEST + sys.version_info[:2] + (sys.executable,))
        )
    )


def venv_works() -> bool:
    """Whether .venv is whole and made by a supported Python (not broken off half-way, not old)."""
    check = "import sys, pip; sys.exit(not {} <= sys.version_info[:2] <= {})".format(OLDEST, NEWEST)
    try:
        return subprocess.call([str(VENV_PYTHON), "-c", check], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def make_venv() -> None:
    print("Making the virtual environment .venv ...", flush=True)
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        check=False,
    )
    if made.returncode:
        sys.stderr.write(made.stdout)
        sys.exit(
            "This Python cannot make a virtual environment."
            " On Debian and Ubuntu: apt install python{}.{}-venv".format(*sys.version_info[:2])
        )


def fingerprint_of_requirements() -> str:
    """Of all the files, since they include one another."""
    files = sorted(ROOT.glob("requirements*.txt")) + [ROOT / "constraints.txt"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def install(requirements: str) -> None:
    log = VENV / "install.log"
    command = [str(VENV_PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", "--requirement", str(ROOT / requirements)]
    message = "Installing {}: the first time takes some minutes ...".format(requirements)
    print(message, end="" if sys.stdout.isatty() else "\n", flush=True)
    start = time.time()
    with log.open("w") as output:
        pip = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while pip.poll() is None:
            time.sleep(0.2)
            if sys.stdout.isatty():
                print("\r{} {:.0f} s".format(message, time.time() - start), end="", flush=True)
    if sys.stdout.isatty():
        print()
    if pip.returncode:
        explain_failure(log.read_text(errors="replace"))


def explain_failure(log: str) -> None:
    if any(error in log for error in NETWORK_ERRORS):
        sys.exit("The package index cannot be reached: is this machine connected to the internet?")
    sys.stderr.writelines(line + "\n" for line in log.splitlines() if line.startswith("ERROR"))
    sys.exit("The libraries could not be installed; .venv/install.log has the whole story.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped; the next start goes on from here.")
