"""The one settings module. Every variable is read from the environment and documented in README.md.

Two ways to run, one code: without any variable the system is *embedded* (SQLite, files on disk,
Celery over the file system); ``DATABASE_URL`` and ``CELERY_BROKER_URL`` make it *scaled*.
"""

import os
from pathlib import Path

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from hematovision.secrets import load_or_create_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

# Before anything imports NumPy. Processes and threads of ours share the cores already; OpenBLAS'
# own would spin against them and more than doubled the time of the tests (374 s, now 158).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# --- Where things are kept -------------------------------------------------------------------
DATA_DIR = Path(env.str("HEMATOVISION_DATA_DIR", default=str(BASE_DIR / "var"))).resolve()
MEDIA_ROOT = DATA_DIR / "files"
BROKER_DIR = DATA_DIR / "broker"
for _folder in (MEDIA_ROOT, BROKER_DIR / "messages", BROKER_DIR / "control"):
    _folder.mkdir(parents=True, exist_ok=True)

# --- Production or embedded ------------------------------------------------------------------
PRODUCTION = env.bool("HEMATOVISION_PRODUCTION", default=False)
DEBUG = env.bool("DJANGO_DEBUG", default=False)
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("DJANGO_CSRF_TRUSTED_ORIGINS", default=[])
HTTPS = env.bool("HEMATOVISION_HTTPS", default=PRODUCTION)

SECRET_KEY = env.str("DJANGO_SECRET_KEY", default="")
if PRODUCTION:
    if len(SECRET_KEY) < 50 or SECRET_KEY.startswith("django-insecure"):
        raise ImproperlyConfigured(
            "Production needs DJANGO_SECRET_KEY: a random text of 50 characters or more."
        )
    if DEBUG:
        raise ImproperlyConfigured("Production refuses DJANGO_DEBUG: unset it.")
    if not HTTPS:
        raise ImproperlyConfigured(
            "Production refuses cookies over plain HTTP: unset HEMATOVISION_HTTPS."
        )
elif not SECRET_KEY:
    # Embedded: a key of this machine's own, made on the first start and kept beside the data.
    SECRET_KEY = load_or_create_secret_key(DATA_DIR / "secret_key")

# --- Applications ----------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "csp",
    "django_htmx",
    "accounts",
    "hematovision.files",
    "hematovision",
    "inference",
    "analyses",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    # Before the CSRF check, which reads the body: who may not upload shall not fill the disk.
    "accounts.middleware.AccessMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "hematovision.urls"
WSGI_APPLICATION = "hematovision.wsgi.application"
ASGI_APPLICATION = "hematovision.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context_processors.access",
            ],
        },
    },
]

# --- Database --------------------------------------------------------------------------------
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # WAL lets readers go on while the worker writes; IMMEDIATE takes the write lock at BEGIN, so
    # that two writers wait for each other instead of failing in mid-transaction; FULL flushes
    # each commit, so that what was said to be received outlives a power cut.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("DATABASE_CONN_MAX_AGE", default=60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- People ----------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.EmailBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "front"
# One address is stopped before it can lock an account for everybody.
LOGIN_FAILURES_PER_HOUR = env.int("LOGIN_FAILURES_PER_HOUR", default=100)
LOGIN_FAILURES_PER_ADDRESS = env.int("LOGIN_FAILURES_PER_ADDRESS", default=60)
SESSION_COOKIE_AGE = env.int("SESSION_IDLE_MINUTES", default=30) * 60

CSRF_FAILURE_VIEW = "hematovision.views.csrf_failure"

# --- HTTP ------------------------------------------------------------------------------------
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=31_536_000) if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
BEHIND_PROXY = env.bool("HEMATOVISION_BEHIND_PROXY", default=False)
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "blob:"],  # blob: the previews of files not yet sent
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}

# --- Static files ----------------------------------------------------------------------------
STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("HEMATOVISION_STATIC_DIR", default=str(BASE_DIR / "staticfiles")))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# --- Uploads ---------------------------------------------------------------------------------
UPLOAD_MAX_BYTES = env.int("UPLOAD_MAX_MB", default=20) * 1024 * 1024
UPLOAD_MAX_PIXELS = env.int("UPLOAD_MAX_MEGAPIXELS", default=50) * 1_000_000
UPLOAD_MAX_FILES = env.int("UPLOAD_MAX_FILES", default=200)
MODEL_UPLOAD_MAX_BYTES = env.int("MODEL_UPLOAD_MAX_MB", default=400) * 1024 * 1024
UPLOAD_MAX_REQUEST_BYTES = env.int("UPLOAD_MAX_REQUEST_MB", default=500) * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FILES = UPLOAD_MAX_FILES
FILE_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
FILE_UPLOAD_TEMP_DIR = str(MEDIA_ROOT / "incoming")
(MEDIA_ROOT / "incoming").mkdir(exist_ok=True)
FILE_UPLOAD_HANDLERS = [
    "hematovision.files.upload_handlers.BoundedUploadHandler",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

# --- Samples and their analysis --------------------------------------------------------------
ACCESSION_FORMAT = env.str("ACCESSION_FORMAT", default="HV-{date:%y%m%d}-{number:04d}")
MODEL_BUNDLE = Path(
    env.str("MODEL_BUNDLE", default=str(BASE_DIR / "inference" / "bundles" / "default"))
)
ENGINE_THREADS = env.int("ENGINE_THREADS", default=1)
ENGINES_OPEN = env.int("ENGINES_OPEN", default=4)
ANALYSIS_CLAIM_SIZE = env.int("ANALYSIS_CLAIM_SIZE", default=32)
ANALYSIS_LEASE_SECONDS = env.int("ANALYSIS_LEASE_SECONDS", default=120)
ANALYSIS_MAX_ATTEMPTS = env.int("ANALYSIS_MAX_ATTEMPTS", default=3)
REAPER_SECONDS = env.int("REAPER_SECONDS", default=15)

# --- Datasets, training and other long work ---------------------------------------------------
DATASET_MAX_BYTES = env.int("DATASET_MAX_MB", default=8192) * 1024 * 1024
IMAGENET_WEIGHTS = env.str("IMAGENET_WEIGHTS", default="")
JOB_LEASE_SECONDS = env.int("JOB_LEASE_SECONDS", default=60)
JOB_MAX_ATTEMPTS = env.int("JOB_MAX_ATTEMPTS", default=3)
JOB_LOW_PRIORITY = env.bool("JOB_LOW_PRIORITY", default=True)
JOB_MEMORY_MB = env.int("JOB_MEMORY_MB", default=6000)
JOB_FREE_DISK_MB = env.int("JOB_FREE_DISK_MB", default=1000)

# --- Celery: the database row is the truth, the broker only a hint --------------------------
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="filesystem://localhost")
if CELERY_BROKER_URL.startswith("filesystem://"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(BROKER_DIR / "messages"),
        "data_folder_out": str(BROKER_DIR / "messages"),
        "control_folder": str(BROKER_DIR / "control"),
        # kombu looks once a second by default: too slow for a person who waits for one picture.
        "polling_interval": env.float("BROKER_POLLING_SECONDS", default=0.05),
    }
else:
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": 3600,
        "max_retries": 0,  # a hint that cannot be sent must not hold a web thread
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {
    "analyses.tasks.analyse_queued": {"queue": "inference"},
    "inference.tasks.work": {"queue": "training"},
}
CELERY_TASK_SOFT_TIME_LIMIT = 600
CELERY_TASK_TIME_LIMIT = 660
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # gossip and remote control cost polls, unused here
CELERY_TASK_PUBLISH_RETRY = False  # a lost hint is the reaper's business; a person must not wait
CELERY_BEAT_SCHEDULE = {
    "care": {"task": "hematovision.tasks.care", "schedule": 24 * 3600},
    "reap": {
        "task": "analyses.tasks.reap",
        "schedule": REAPER_SECONDS,
        "options": {"expires": REAPER_SECONDS},
    },
    "reap_jobs": {
        "task": "inference.tasks.reap",
        "schedule": REAPER_SECONDS,
        "options": {"expires": REAPER_SECONDS},
    },
}
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat-schedule")

# --- Language and time -----------------------------------------------------------------------
LANGUAGE_CODE = "en-gb"
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True

# --- Logging ---------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
}
# User names are unique without regard to case, by a constraint that the check does not see.
SILENCED_SYSTEM_CHECKS = ["auth.W004"]
