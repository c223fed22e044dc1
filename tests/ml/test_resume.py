"""A training that ends in the middle goes on where it was; a disk that is full spoils nothing."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hematovision.files.gate import decode
from inference.ml.bundle import load_bundle
from inference.ml.data import DataError, Listing, list_items
from inference.ml.disk import check_room, full_disk_told, whole_file
from inference.ml.preprocess import Preprocessing
from inference.ml.progress import Cancelled, Progress
from inference.ml.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.crash, pytest.mark.xdist_group("tensorflow")]

MakeFolders = Callable[..., Path]
STEPS = 4  # of an epoch
EPOCHS = 3
CROPS = ("train.npy", "validation.npy", "test.npy")


@pytest.fixture
def listing(class_folders: MakeFolders) -> Listing:
    return list_items([class_folders("set", {"round": 0, "other": 100}, pictures=8)])


def settings_in(folder: Path) -> Settings:
    return Settings(
        out=folder / "bundle",
        backbone="scratch-cnn",
        epochs=EPOCHS,
        crops_per_epoch=8 * STEPS,
        batch=8,
        patience=EPOCHS,
        views=1,
        preprocessing=Preprocessing(size=32),
    )


def history_of(folder: Path) -> list[dict[str, float]]:
    history = load_bundle(folder / "bundle").card.training["history"]
    assert isinstance(history, list)
    return history


class Witness:
    """Hears what a training tells, and cancels it at a step."""

    def __init__(self, at: int = -1) -> None:
        self.told: list[Progress] = []
        self._at = at

    def __call__(self, progress: Progress) -> None:
        self.told.append(progress)

    def stop(self) -> str:
        last = self.told[-1]
        return "cancel" if last.stage == "train" and last.done >= self._at >= 0 else ""

    @property
    def steps(self) -> list[int]:
        """The steps that were really taken."""
        return [p.done for p in self.told if p.stage == "train" and not p.message]

    @property
    def epochs(self) -> list[int]:
        return [p.epoch for p in self.told if p.epoch is not None]


def test_a_resumed_training_is_the_one_that_was_not_interrupted(
    listing: Listing, tmp_path: Path
) -> None:
    """Dropout, augmentation, the optimizer's moments and the rate all go on as if nothing was."""
    from inference.ml.train import train

    whole, first, second = Witness(), Witness(at=STEPS + 2), Witness()
    train(settings_in(tmp_path / "a"), listing, whole, decode=decode)
    settings, run = settings_in(tmp_path / "b"), tmp_path / "run"
    with pytest.raises(Cancelled):
        train(settings, listing, first, decode=decode, folder=run, stop=first.stop)
    cut = {name: (run / name).stat().st_mtime_ns for name in CROPS}
    train(settings, listing, second, decode=decode, folder=run)

    assert first.steps == [*range(1, STEPS + 3)]
    assert second.steps == [*range(STEPS + 1, EPOCHS * STEPS + 1)]
    assert second.epochs == [*range(EPOCHS + 1)]  # those before are told again
    assert {name: (run / name).stat().st_mtime_ns for name in CROPS} == cut
    one, other = history_of(tmp_path / "a"), history_of(tmp_path / "b")
    assert [set(record) for record in one[1:]] == EPOCHS * [
        {"training_loss", "training_accuracy", "validation_loss", "validation_accuracy"}
    ]
    for record, again in zip(one, other, strict=True):
        assert record == pytest.approx(again, abs=2e-4)  # sums on several cores have no fixed order


CHILD = """
import sys, time
from pathlib import Path
from hematovision.files.gate import decode
from inference.ml.data import list_items
from inference.ml.train import train
from tests.ml.test_resume import settings_in

data, out, run, stage, step = sys.argv[1:]

def report(progress):
    if progress.stage == stage and progress.done == int(step) and not progress.message:
        print("here", flush=True)
        time.sleep(600)

train(settings_in(Path(out)), list_items([Path(data)]), report, decode=decode, folder=Path(run))
"""


@pytest.mark.parametrize(("stage", "step"), [("cut", 6), ("train", STEPS + 2)])
def test_a_killed_training_has_every_epoch_once(
    class_folders: MakeFolders, tmp_path: Path, stage: str, step: int
) -> None:
    from inference.ml.train import train

    data = class_folders("set", {"round": 0, "other": 100}, pictures=8)
    run, witness = tmp_path / "run", Witness()
    words = [str(data), str(tmp_path), str(run), stage, str(step)]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *words], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "here\n"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "bundle").exists()
    train(settings_in(tmp_path), list_items([data]), witness, decode=decode, folder=run)

    begun = STEPS if stage == "train" else 0
    assert witness.steps == [*range(begun + 1, EPOCHS * STEPS + 1)]
    assert witness.epochs == [*range(EPOCHS + 1)]
    assert len(history_of(tmp_path)) == EPOCHS + 1
    assert not list(run.glob(".*"))


def test_finishing_keeps_the_best_epoch_and_cancelling_keeps_nothing(
    listing: Listing, tmp_path: Path
) -> None:
    from inference.ml.train import train

    settings, run = settings_in(tmp_path), tmp_path / "run"
    cancel = Witness(at=STEPS + 1)
    with pytest.raises(Cancelled, match="no model was written"):
        train(settings, listing, cancel, decode=decode, folder=run, stop=cancel.stop)
    assert not settings.out.exists()
    bundle = train(settings, listing, decode=decode, folder=run, stop=lambda: "finish")
    assert len(bundle.card.training["history"]) == 2  # of the warm-up and the one whole epoch

    early = Witness()
    with pytest.raises(Cancelled):
        train(settings, listing, early, decode=decode, stop=lambda: "finish")
    assert {p.stage for p in early.told} == {"cut"}


@pytest.mark.parametrize(("logit", "loss"), [(np.nan, 1.0), (0.0, np.nan), (np.inf, None)])
def test_a_training_that_diverges_says_so(
    monkeypatch: pytest.MonkeyPatch, logit: float, loss: float | None
) -> None:
    from inference.ml import fit

    monkeypatch.setattr(fit, "predict_logits", lambda *_: np.array([[1.0, logit]], np.float32))
    part = SimpleNamespace(labels=np.array([0]), weights=np.ones(1), crops=None)
    best = fit._Best(SimpleNamespace(), part, Preprocessing())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="lower learning rate"):
        best.validate(loss, None)
    assert best.history == []


def test_a_folder_is_that_of_one_training(listing: Listing, tmp_path: Path) -> None:
    from inference.ml.train import train

    settings, run = settings_in(tmp_path), tmp_path / "run"
    train(replace(settings, epochs=1), listing, decode=decode, folder=run)

    def other(settings: Settings, listing: Listing) -> str:
        with pytest.raises(DataError) as refusal:
            train(settings, listing, decode=decode, folder=run)
        return str(refusal.value)

    said = other(replace(settings, epochs=2), listing)
    assert "another training, with other settings" in said
    fewer = replace(listing, items=listing.items[1:])
    assert "with other pictures" in other(replace(settings, epochs=1), fewer)
    (run / "checkpoint.npz").write_bytes(b"PK no checkpoint")
    assert "Remove it to train from the beginning" in other(replace(settings, epochs=1), listing)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DataError, match="cannot be the folder of a training"):
        train(settings, listing, decode=decode, folder=file)


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("when", ["cut", "train", "evaluate"])
def test_a_disk_that_fills_up_is_told_and_leaves_no_half_of_a_file(
    listing: Listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """From some moment on nothing can be written; with room again the same run goes on."""
    from inference.ml.train import train

    settings, run = settings_in(tmp_path), tmp_path / "run"

    def fill(progress: Progress) -> None:
        if progress.stage == when and progress.done == (0 if when == "evaluate" else 3):
            monkeypatch.setattr(os, "fsync", full)
            monkeypatch.setattr("keras.Model.save", full)

    with pytest.raises(DataError, match=r"The disk is full\. Make room and start the training"):
        train(settings, listing, fill, decode=decode, folder=run)
    assert not settings.out.exists()
    assert not list(run.glob(".*"))
    assert not list(tmp_path.glob(".*"))
    monkeypatch.undo()
    if when == "evaluate":  # the others go on as those do that were killed
        train(settings, listing, decode=decode, folder=run)
        assert len(history_of(tmp_path)) == EPOCHS + 1


def test_too_little_room_is_told_before_anything_is_cut(
    listing: Listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inference.ml.train import train

    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100_000))
    witness = Witness()
    said = r"needs about \d+\.\d MB on the disk of .* where 0\.1 MB are free"
    with pytest.raises(DataError, match=said):
        train(settings_in(tmp_path), listing, witness, decode=decode, folder=tmp_path / "run")
    assert not witness.told
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


@pytest.mark.unit
def test_folders_of_one_disk_are_taken_together(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    check_room({tmp_path: 1000, tmp_path / "a": 1000})
    with pytest.raises(DataError, match=r"needs about 10000000\.0 GB"):
        check_room({tmp_path: 5 * 10**15, tmp_path / "a": 5 * 10**15})


@pytest.mark.unit
def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(TypeError), whole_file(path) as file:
        file.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    assert path.read_bytes() == b"before"
    with whole_file(path) as file:
        file.write(b"after")
    assert path.read_bytes() == b"after"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.unit
def test_only_a_full_disk_is_called_one() -> None:
    with pytest.raises(DataError, match="The disk of /somewhere is full"), full_disk_told():
        raise OSError(errno.EDQUOT, "over quota", "/somewhere")
    with pytest.raises(DataError, match="The disk is full"), full_disk_told():
        raise OSError("Can't write data (file write failed: errno = 28, No space left on device)")
    with pytest.raises(PermissionError), full_disk_told():
        raise PermissionError(errno.EACCES, "no")
