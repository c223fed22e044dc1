"""How long a person waits for one picture while a training runs on the same cores.

    python -m bench.interactive [--repeats 40]

Starts a system of its own, has it read single pictures as the upload page sends them, first with
nothing else to do, then while a training goes on from the model in use (whole network, crops of
128 pixels, batches of 32). The aim is the issue's: under 1.5 s.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from bench.pipeline import Bench, print_row, proportional_memory_mb
from tests.system import RunningSystem

AIM_SECONDS = 1.5
BEGIN_SECONDS = 300

START = """
from accounts.models import User
from inference.models import TrainingRun
from inference.registry.selectors import active_model_version
from inference.training.options import Order, default_options
from inference.training.services import training_start
from tests.factories import dataset_version
labels = ["eosinophil", "lymphocyte", "monocyte", "neutrophil"]
version = dataset_version(labels, each=30)
model = active_model_version()
order = Order(
    [version], {label: label for label in labels}, TrainingRun.Start.ACTIVE, model,
    default_options(model),
)
training_start(order=order, by=User.objects.get(username="admin"))
"""
STEPS = "SELECT stage, steps_done FROM inference_job"


def tell(when: str, seconds: list[float]) -> None:
    p95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1]
    print_row(f"one picture {when}, median", f"{statistics.median(seconds):.2f} s")
    print_row(f"one picture {when}, p95", f"{p95:.2f} s", f"< {AIM_SECONDS} s")
    print_row(f"one picture {when}, longest", f"{max(seconds):.2f} s")


def steps_of_training(system: RunningSystem) -> int:
    """Steps of the second stage that are done; waits until it has begun."""
    deadline = time.monotonic() + BEGIN_SECONDS
    while time.monotonic() < deadline:
        stage, done = system.row(STEPS)
        if stage.startswith("Second") and done:
            return int(done)
        time.sleep(0.5)
    raise RuntimeError("The training gets no turn: something else keeps the processors busy.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    processes = ("web", "worker", "training", "beat")
    with (
        tempfile.TemporaryDirectory(prefix="hematovision-bench-") as folder,
        RunningSystem(Path(folder), processes=processes) as system,
    ):
        bench = Bench(system.url, "technician", system.passwords["technician"])
        tell("alone", bench.latencies(options.repeats))
        system.manage("shell", "-v0", "-c", START)
        before, since = steps_of_training(system), time.monotonic()
        bench.visitor.connection.close()  # the server may have, meanwhile
        tell("beside a training", bench.latencies(options.repeats))
        pace = (steps_of_training(system) - before) / (time.monotonic() - since)
        print_row("steps of the training meanwhile", f"{pace:.1f} /s")
        memory = proportional_memory_mb(system.pid("training"))
        print_row("memory of the training worker (PSS)", f"{memory:.0f} MB")


if __name__ == "__main__":
    main()
