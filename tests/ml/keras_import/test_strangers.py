"""Files that were made to do harm, or are broken: each is refused in a sentence, none runs."""

import base64
import json
import marshal
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import h5py
import numpy as np
import pytest
from django.conf import settings

from inference.ml.keras_import import KerasFileError, sandbox
from inference.ml.keras_import.sandbox import arrays_of, read_keras
from tests.ml.keras_import.files import layer, model, numbers, write_h5, write_keras

pytestmark = pytest.mark.unit


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Path], Any]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return lambda path: read_keras(path, scratch)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that appears if somebody's code runs."""
    return tmp_path / "canary"


def code_that_touches(path: Path) -> str:
    """Marshalled code, as Keras 2 keeps that of a Lambda layer. It works: see the test below."""
    made = compile(f"open({str(path)!r}, 'w').close()", "<lambda>", "exec")
    return base64.b64encode(marshal.dumps(made)).decode()


def lambda_layer(canary: Path) -> dict[str, Any]:
    return layer("Lambda", "lambda", function=[code_that_touches(canary), None, None])


def test_the_code_that_is_hidden_would_run(canary: Path) -> None:
    code = marshal.loads(base64.b64decode(code_that_touches(canary)))  # noqa: S302
    FunctionType(code, {"__builtins__": __builtins__})()
    assert canary.exists()


def test_a_sound_file_of_either_kind_is_read(read: Callable[[Path], Any], tmp_path: Path) -> None:
    found = read(write_h5(tmp_path / "a.h5"))

    assert (found.format, found.backbone, found.size, found.classes) == ("h5", "plain-cnn", 16, 4)
    arrays = arrays_of(tmp_path / "scratch")
    expected = numbers()
    assert np.array_equal(arrays["Conv2D 1/kernel"], expected["conv2d", "kernel"])
    assert np.array_equal(arrays["Dense 1/bias"], expected["dense", "bias"])
    other = tmp_path / "other"
    other.mkdir()
    assert read_keras(write_keras(tmp_path / "a.keras"), other).keras_version == "3.5.0"
    assert {name: value.tolist() for name, value in arrays_of(other).items()} == {
        name: value.tolist() for name, value in arrays.items()
    }


# --- Code ------------------------------------------------------------------------------------
def test_a_legacy_file_with_marshalled_code(
    read: Callable[[Path], Any], tmp_path: Path, canary: Path
) -> None:
    with pytest.raises(KerasFileError, match="Lambda layer: code of its own, which is never run"):
        read(write_h5(tmp_path / "a.h5", model(lambda_layer(canary))))
    assert not canary.exists()


def test_an_archive_with_a_lambda(
    read: Callable[[Path], Any], tmp_path: Path, canary: Path
) -> None:
    function = {
        "class_name": "__lambda__",
        "config": {"code": code_that_touches(canary), "defaults": None, "closure": None},
    }
    hidden = layer("Lambda", "lambda", function=function) | {"module": "keras.layers"}
    with pytest.raises(KerasFileError, match="Lambda layer"):
        read(write_keras(tmp_path / "a.keras", model(hidden)))
    # Also where no layer is looked at.
    regulariser = layer("Dropout", "dropout", rate=0.1, kernel_regularizer=function)
    with pytest.raises(KerasFileError, match="Lambda layer"):
        read(write_keras(tmp_path / "b.keras", model(regulariser)))
    assert not canary.exists()


@pytest.mark.parametrize(
    "object_",
    [
        {"module": "os", "class_name": "system", "config": "touch CANARY"},
        {
            "module": "builtins",
            "class_name": "function",
            "config": "exec",
            "registered_name": "a>b",
        },
        {"module": "keras.src.utils", "class_name": "Evil>get_file", "config": {}},
    ],
)
def test_custom_objects(
    read: Callable[[Path], Any], tmp_path: Path, canary: Path, object_: dict[str, Any]
) -> None:
    text = json.dumps(object_).replace("CANARY", str(canary))
    as_layer = json.loads(text)
    as_layer["config"] = {"name": "dense_9", "command": as_layer["config"]}
    for number, one in enumerate(
        (model(as_layer), model(layer("Dense", "d", units=4, activation=json.loads(text))))
    ):
        with pytest.raises(KerasFileError, match=r"custom object|not known here|code or an object"):
            read(write_keras(tmp_path / f"{number}.keras", one))
    assert not canary.exists()


# --- Other files -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "link", [h5py.ExternalLink("/etc/passwd", "/"), h5py.SoftLink("/model_weights/conv2d")]
)
def test_links(read: Callable[[Path], Any], tmp_path: Path, link: object) -> None:
    path = write_h5(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file["model_weights/elsewhere"] = link
    with pytest.raises(KerasFileError, match="“elsewhere” in the file is a link elsewhere"):
        read(path)


def test_numbers_that_lie_in_another_file(read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["model_weights/dense/dense/bias:0"]
        file.create_dataset(
            "model_weights/dense/dense/bias:0",
            (4,),
            "f4",
            external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)],
        )
    with pytest.raises(KerasFileError, match="“bias:0” lie in another file"):
        read(path)


def test_numbers_that_are_a_view_of_another_file(
    read: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = write_h5(tmp_path / "a.h5")
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("model_weights/view", layout)
    with pytest.raises(KerasFileError, match="“view” lie in another file"):
        read(path)


def test_objects_instead_of_numbers(read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file.create_dataset("model_weights/x", data=["a", "b"], dtype=h5py.string_dtype())
    with pytest.raises(KerasFileError, match="objects instead of numbers"):
        read(path)


# --- Too much --------------------------------------------------------------------------------
def test_a_configuration_nested_without_end(read: Callable[[Path], Any], tmp_path: Path) -> None:
    deep = "[" * 200_000 + "]" * 200_000
    with pytest.raises(KerasFileError, match="nested too deeply"):
        read(write_h5(tmp_path / "a.h5", deep[:60_000]))
    with pytest.raises(KerasFileError, match="nested too deeply"):
        read(write_keras(tmp_path / "a.keras", deep))
    within: dict[str, Any] = model()
    for number in range(300):
        within = {"class_name": "Sequential", "config": {"name": f"m{number}", "layers": [within]}}
    with pytest.raises(KerasFileError, match="nested too deeply"):
        read(write_keras(tmp_path / "b.keras", within))


def test_a_zip_bomb(read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = write_keras(
        tmp_path / "a.keras", packed=zipfile.ZIP_DEFLATED, model__weights__h5=bytes(1 << 27)
    )
    assert path.stat().st_size < 1 << 18
    with pytest.raises(KerasFileError, match="packed too densely"):
        read(path)


def test_members_that_do_not_belong(read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = write_keras(tmp_path / "a.keras")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../escaped.py", b"")
    with pytest.raises(KerasFileError, match=r"holds “../../escaped.py”"):
        read(path)
    assert not (tmp_path.parent / "escaped.py").exists()


def test_arrays_that_are_only_claimed(read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["model_weights/dense/dense/kernel:0"]
        file.create_dataset(
            "model_weights/dense/dense/kernel:0", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024)
        )
    with pytest.raises(KerasFileError, match="more than 600 MB"):
        read(path)


def test_groups_nested_without_end(read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file["model_weights/loop"] = file["model_weights"]
    with pytest.raises(KerasFileError, match="nested too deeply"):
        read(path)


# --- Broken ----------------------------------------------------------------------------------
@pytest.mark.parametrize("write", [write_h5, write_keras])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_is_cut_off(
    read: Callable[[Path], Any],
    tmp_path: Path,
    write: Callable[..., Path],
    share: float,
) -> None:
    path = write(tmp_path / "a")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(KerasFileError, match="damaged or cut off"):
        read(path)


def test_something_else(read: Callable[[Path], Any], tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"\x80\x04pickle", b"hello" * 100)):
        path = tmp_path / str(number)
        path.write_bytes(content)
        with pytest.raises(KerasFileError, match=r"neither a .keras nor an .h5 file"):
            read(path)


def test_weights_without_a_model(read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("dense/kernel", data=np.zeros(4))
    with pytest.raises(KerasFileError, match="weights without the model"):
        read(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none(read: Callable[[Path], Any], tmp_path: Path, value: float) -> None:
    spoilt = numbers()
    spoilt["dense", "bias"][1] = value
    with pytest.raises(KerasFileError, match="infinite or none"):
        read(write_h5(tmp_path / "a.h5", arrays=spoilt))


def test_numbers_that_lack(read: Callable[[Path], Any], tmp_path: Path) -> None:
    some = numbers()
    del some["dense", "bias"]
    for number, write in enumerate((write_h5, write_keras)):
        with pytest.raises(KerasFileError, match="lacks numbers of the layer “dense”"):
            read(write(tmp_path / str(number), arrays=some))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"class_name": "Sequential"}, "not as Keras writes it"),
        ([], "not as Keras writes it"),
        (model(layer("LSTM", "l")), "“l” is a “LSTM”, which is not known here"),
        (model(layer("Conv2D", "c", filters=10**9, kernel_size=[1, 1])), "is too large"),
        (model(layer("Conv2D", "c", filters=4, kernel_size=[999, 1])), "is too large"),
        (model(layer("ZeroPadding2D", "z", padding=[[9999, 0], [0, 0]])), "is too large"),
        (model(layer("Dense", "d", units=4)), "nor a plain chain"),
        (model(layer("Conv2D", "c", filters=4, activation="evil")), "activation “evil”"),
        (model(size=8), "16 to 512 are taken"),
        (model(size=100_000), "16 to 512 are taken"),
        (model(classes=1), "fewer than two classes"),
        (model(classes=1000), "1000 classes apart, and 100 can be used"),
    ],
)
def test_networks_that_are_not_taken(
    read: Callable[[Path], Any], tmp_path: Path, config: Any, sentence: str
) -> None:
    with pytest.raises(KerasFileError, match=sentence):
        read(write_keras(tmp_path / "a.keras", json.dumps(config)))


# --- The process ------------------------------------------------------------------------------
def test_a_process_that_dies_or_hangs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_h5(tmp_path / "a.h5")
    monkeypatch.setattr(sandbox, "TIMEOUT", 0.01)
    with pytest.raises(KerasFileError, match="Reading the file broke down"):
        read_keras(path, tmp_path)
    monkeypatch.setattr(sandbox, "_run", lambda *_: -11)
    with pytest.raises(KerasFileError, match="Reading the file broke down"):
        read_keras(path, tmp_path)


@pytest.mark.parametrize(
    "attempt",
    [
        "os.system('touch {canary}')",
        "os.fork()",
        "subprocess.run(['touch', '{canary}'])",
        "socket.create_connection(('127.0.0.1', 9))",
        "pathlib.Path('{canary}').write_text('x')",
        "exec('1')",
        "__import__('this')",
        "marshal.loads(b'N')",
        "os.remove(__file__)",
        "bytearray(8 << 30)",
    ],
)
def test_the_process_may_do_nothing_but_read(tmp_path: Path, canary: Path, attempt: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    script = tmp_path / "script.py"
    script.write_text(
        "import marshal, os, pathlib, socket, subprocess, sys\n"
        "from inference.ml.keras_import.child import limit, shut\n"
        f"limit(); shut(pathlib.Path({str(out)!r}))\n"
        f"(pathlib.Path({str(out)!r}) / 'own').write_text('x')\n"
        f"{attempt.replace('{canary}', str(canary))}\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(settings.BASE_DIR), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        ("inference.ml.keras_import.child.Forbidden", "MemoryError")
    )
    assert (out / "own").exists()
    assert not canary.exists()
    assert script.exists()
