"""The suite's settings: the system's own, on a data folder that lives as long as the run.

The database is SQLite in a file, as an installation has it (in memory, two connections would lock
differently), or whatever DATABASE_URL says.
"""

import atexit
import os
import shutil
import tempfile

_data_dir = tempfile.mkdtemp(prefix="hematovision-tests-")
atexit.register(shutil.rmtree, _data_dir, ignore_errors=True)
os.environ["HEMATOVISION_DATA_DIR"] = os.environ["HEMATOVISION_STATIC_DIR"] = _data_dir

from hematovision.settings import *  # noqa: E402, F403
from hematovision.settings import DATA_DIR, DATABASES, STORAGES  # noqa: E402

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # logging in costs no time
STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
