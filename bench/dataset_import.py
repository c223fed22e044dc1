"""How long the Kaggle archive takes from its upload to a page that shows it.

    python -m bench.dataset_import ../shared/data/bccd/TRAIN

Zips the folder, sends the archive to a system of its own as the page's script does, waits until
the training worker has imported it, and opens the page that looks at the data.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
import zipfile
from pathlib import Path
from urllib.parse import urlencode

from bench.pipeline import Visitor
from tests.system import RunningSystem

IMPORT_AIM, PAGE_AIM = 180.0, 2.0  # seconds
PIECE = 8 * 2**20
FORM = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}


def zipped(folder: Path, archive: Path) -> int:
    """Pack a folder as it would be uploaded; return the number of files."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in files:
            target.write(path, f"dataset2-master/images/{path.relative_to(folder.parent)}")
    return len(files)


def upload(visitor: Visitor, archive: Path) -> str:
    """Send the archive in pieces and return the address of its version."""
    facts = {
        "name": "Kaggle",
        "file_name": archive.name,
        "size": archive.stat().st_size,
        "last_modified": 0,
    }
    form = urlencode(facts).encode()
    said = json.loads(visitor.ask("/datasets/uploads/", form, **FORM))
    with archive.open("rb") as file:
        while piece := file.read(PIECE):
            headers = {
                "Content-Type": "application/octet-stream",
                "Upload-Offset": str(file.tell() - len(piece)),
            }
            visitor.ask(said["piece_url"], piece, **headers)
    return str(json.loads(visitor.ask(said["finish_url"], form, **FORM))["url"])


def wait_until_imported(visitor: Visitor, address: str) -> str:
    """Look as the page does, and return the page of the finished version."""
    while True:
        page = visitor.ask(address)
        if not (poll := re.search(r'hx-get="(/jobs/\d+/)', page)):
            return page
        while visitor.ask(poll[1]).find("hx-get") >= 0:
            time.sleep(1)


def page_seconds(visitor: Visitor, address: str, repeats: int = 5) -> list[float]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        visitor.ask(address)
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of class folders, e.g. bccd/TRAIN")
    parser.add_argument(
        "--busy", action="store_true", help="on a machine with other work, at its priority"
    )
    options = parser.parse_args()
    folder = options.folder
    variables = {"JOB_LOW_PRIORITY": "false"} if options.busy else {}
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "archive.zip"
        files = zipped(folder, archive)
        processes = ("web", "training")
        system = RunningSystem(Path(scratch) / "system", processes=processes, variables=variables)
        with system:
            visitor = Visitor(system.url)
            visitor.log_in("admin", system.passwords["admin"])
            start = time.perf_counter()
            address = upload(visitor, archive)
            sent = time.perf_counter()
            page = wait_until_imported(visitor, address)
            imported = time.perf_counter()
            if "badge-failed" in page:
                raise SystemExit(page)
            opened = page_seconds(visitor, address)
        print(f"{files} files, {archive.stat().st_size / 2**20:.0f} MB")
        print(f"| Sent | {sent - start:.1f} s |")
        print(f"| Imported after that | {imported - sent:.1f} s (aim {IMPORT_AIM:.0f}) |")
        print(f"| Its page, the first time | {opened[0]:.2f} s (aim {PAGE_AIM:.0f}) |")
        print(f"| Its page, median of {len(opened)} | {statistics.median(opened):.2f} s |")


if __name__ == "__main__":
    main()
