"""An admin, and the training worker's part done in this process."""

from collections.abc import Callable

import pytest
from django.test import Client

from accounts.models import User
from accounts.permissions import Role
from inference.jobs import child, queue
from inference.models import Job
from tests.factories import UserFactory


@pytest.fixture
def admin() -> User:
    return UserFactory.create(role=Role.ADMIN)


@pytest.fixture
def web(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


@pytest.fixture
def work() -> Callable[[], Job]:
    """Do the oldest job."""

    def work() -> Job:
        job = queue.claim(worker="test")
        assert job
        child.run(job)
        job.refresh_from_db()
        return job

    return work
