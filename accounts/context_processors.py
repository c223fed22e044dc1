from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.permissions import Permission, has_permission
from accounts.selectors import has_several_sites


class _May:
    """``{% if may.upload_images %}`` in a template asks the one checker."""

    def __init__(self, request: HttpRequest) -> None:
        self._person = request.user

    def __getitem__(self, name: str) -> bool:
        return has_permission(self._person, Permission[name.upper()])


def access(request: HttpRequest) -> dict[str, Any]:
    if not hasattr(request, "user"):  # an error before the authentication middleware
        return {}
    return {"may": _May(request), "show_sites": SimpleLazyObject(has_several_sites)}
