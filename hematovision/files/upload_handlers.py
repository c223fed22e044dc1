"""Bounds on what an upload may write to disk, before any view sees it."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import FileUploadHandler

View = TypeVar("View", bound=Callable[..., Any])


def takes_files_up_to(setting: str) -> Callable[[View], View]:
    """A view whose files may be as large as this setting says, and not as a picture."""

    def declare(view: View) -> View:
        view.upload_setting = setting  # type: ignore[attr-defined]
        return view

    return declare


class BoundedUploadHandler(FileUploadHandler):
    """Stops keeping a file's bytes once it is over the limit; bounds the whole request.

    A file that is too large arrives cut just above the limit, so that the gate refuses it with a
    sentence while the rest of the batch goes on.
    """

    def handle_raw_input(  # type: ignore[override]  # the stubs say str for the length
        self,
        input_data: Any,
        META: dict[str, str],  # noqa: N803  (Django's name)
        content_length: int,
        boundary: bytes,
        encoding: str | None = None,
    ) -> None:
        if content_length > settings.UPLOAD_MAX_REQUEST_BYTES:
            raise RequestDataTooBig(
                "Too much at once: send fewer files in one go "
                f"(at most {settings.UPLOAD_MAX_REQUEST_BYTES // 2**20} MB)."
            )

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        match = self.request.resolver_match if self.request else None
        setting = getattr(match and match.func, "upload_setting", "UPLOAD_MAX_BYTES")
        return raw_data if start <= getattr(settings, setting) else None

    def file_complete(self, file_size: int) -> None:
        return None  # the handlers after this one make the file
