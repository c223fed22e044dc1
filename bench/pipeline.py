"""How long a person waits, how long a batch takes, and what memory that needs.

    python -m bench.pipeline                                            on a system of its own
    python -m bench.pipeline --url http://localhost:8000 --password ... on a running one

Does over HTTP what the upload page does: one request a file over two connections, and a look at
the results every 400 ms until none is pending. The pictures are synthetic smears, 320x240, JPEG.
"""

import argparse
import io
import json
import re
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from itertools import count
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from PIL import Image

from inference.ml.smear import make_smear
from tests.system import RunningSystem

LANES = 2
POLL_SECONDS = 0.4
MEMORY_AIMS_MB = {"web": 150, "worker": 300}


class Visitor:
    """A browser's connection to the system; a second one shares the first one's cookies."""

    def __init__(self, url: str, cookies: SimpleCookie | None = None) -> None:
        self.url = url
        self.connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.cookies = SimpleCookie() if cookies is None else cookies

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> str:
        """GET, or POST a body, and return the text of the answer."""
        headers["Cookie"] = "; ".join(f"{name}={c.value}" for name, c in self.cookies.items())
        if body is not None:
            headers["X-CSRFToken"] = self.cookies["csrftoken"].value
        self.connection.request("GET" if body is None else "POST", path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            self.cookies.load(cookie)
        if answer.status >= 400:
            raise RuntimeError(f"{path} answers {answer.status}: {text[:300]}")
        return text

    def log_in(self, username: str, password: str) -> None:
        self.ask("/accounts/login/")
        form = urlencode({"username": username, "password": password})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        self.ask("/accounts/login/", form.encode(), **kind)
        if "sessionid" not in self.cookies:
            raise RuntimeError(f"{username} cannot log in with this password.")

    def upload(self, picture: bytes, *, batch: str, site: str) -> str:
        """Send one picture as the upload page does and return the address of its results."""
        edge = uuid4().hex
        fields = "".join(
            f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in (("batch", batch), ("site", site))
        )
        file = (
            f'--{edge}\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
        )
        body = (fields + file).encode() + picture + f"\r\n--{edge}--\r\n".encode()
        kind = {
            "Accept": "application/json",
            "Content-Type": f"multipart/form-data; boundary={edge}",
        }
        answer = json.loads(self.ask("/upload/", body, **kind))
        if answer["files"][0]["outcome"] == "refused":
            raise RuntimeError(answer["files"][0]["sentence"])
        return str(answer["sample"]["results_url"])

    def wait_for_results(self, address: str) -> None:
        """Look as the page does, until the part of the page asks for no further look."""
        while True:
            part = self.ask(address)
            if part:
                again = re.search(r'hx-get="([^"]+)"', part)
                if not again:
                    return
                address = again[1].replace("&amp;", "&")
            time.sleep(POLL_SECONDS)


class Bench:
    """The measurements, on a system where somebody can log in."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.visitor = Visitor(url)
        self.visitor.log_in(username, password)
        site = re.search(r'name="site"[^>]*value="(\d+)"', self.visitor.ask("/upload/"))
        if not site:
            raise RuntimeError(f"{username} does not belong to exactly one site.")
        self.site = site[1]
        self.seeds = count(time.time_ns() % 2**31)

    def picture(self) -> bytes:
        """A smear that this system has not seen."""
        smear = make_smear(next(self.seeds), width=320, height=240, white_cells=1)
        target = io.BytesIO()
        Image.fromarray(smear.image).save(target, "JPEG", quality=90)
        return target.getvalue()

    def latencies(self, repeats: int) -> list[float]:
        """Seconds from the button to the visible result of one picture."""
        seconds = []
        for repeat in range(repeats + 1):
            picture = self.picture()
            start = time.perf_counter()
            results = self.visitor.upload(picture, batch=str(uuid4()), site=self.site)
            self.visitor.wait_for_results(results)
            if repeat:  # the first one loads the model
                seconds.append(time.perf_counter() - start)
        return seconds

    def batch_seconds(self, size: int) -> tuple[float, float]:
        """Seconds until the last of a batch is received, and until its result is visible."""
        pictures = [self.picture() for _ in range(size)]
        self.visitor.connection.close()  # the server may have, while the pictures were drawn
        batch = str(uuid4())
        start = time.perf_counter()
        results = self.visitor.upload(pictures.pop(), batch=batch, site=self.site)
        lanes = [Visitor(self.visitor.url, self.visitor.cookies) for _ in range(LANES)]

        def send(lane: int) -> None:
            for picture in pictures[lane::LANES]:
                lanes[lane].upload(picture, batch=batch, site=self.site)

        with ThreadPoolExecutor(LANES) as pool:
            sending = [pool.submit(send, lane) for lane in range(LANES)]
            for lane in sending:
                lane.result()
        received = time.perf_counter() - start
        self.visitor.wait_for_results(results)
        return received, time.perf_counter() - start


def proportional_memory_mb(session: int) -> float:
    """Megabytes of a process and its children, shared pages counted in parts (PSS)."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) == session:
                rollup = (process / "smaps_rollup").read_text()
                total += sum(int(kb) for kb in re.findall(r"^Pss:\s+(\d+)", rollup, re.MULTILINE))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    return total / 1024


def measure(bench: Bench, repeats: int, batch: int) -> None:
    seconds = bench.latencies(repeats)
    median, p95 = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
    print_row("one picture, from button to result, median", f"{median:.2f} s", "< 1 s")
    print_row("one picture, from button to result, p95", f"{p95:.2f} s")
    received, finished = bench.batch_seconds(batch)
    print_row(f"batch of {batch}, all received", f"{received:.1f} s")
    print_row(f"batch of {batch}, all results visible", f"{finished:.1f} s")
    print_row(f"batch of {batch}, images per second", f"{batch / finished:.0f}")


def print_row(what: str, value: str, aim: str = "") -> None:
    print(f"{what:<50}{value:>12}   {aim}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--url", help="measure this system instead of starting one")
    parser.add_argument("--username", default="technician")
    parser.add_argument("--password")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--batch", type=int, default=500)
    options = parser.parse_args()
    if options.url:
        bench = Bench(options.url, options.username, options.password)
        measure(bench, options.repeats, options.batch)
        return
    with (
        tempfile.TemporaryDirectory(prefix="hematovision-bench-") as folder,
        RunningSystem(Path(folder), processes=("web", "worker", "beat")) as system,
    ):
        bench = Bench(system.url, "technician", system.passwords["technician"])
        measure(bench, options.repeats, options.batch)
        for name, aim in MEMORY_AIMS_MB.items():
            memory = proportional_memory_mb(system.pid(name))
            print_row(f"memory of {name} after that (PSS)", f"{memory:.0f} MB", f"< {aim} MB")


if __name__ == "__main__":
    main()
