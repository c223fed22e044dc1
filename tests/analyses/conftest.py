import pytest

from accounts.models import Site, User
from accounts.permissions import Role
from inference.models import ModelVersion
from tests.factories import ModelVersionFactory, SiteFactory, UserFactory, activate


@pytest.fixture
def site() -> Site:
    return SiteFactory.create()


@pytest.fixture
def technician(site: Site) -> User:
    return UserFactory.create(role=Role.TECHNICIAN, sites=[site])


@pytest.fixture
def model() -> ModelVersion:
    """A model in use that holds no network: for tests that read no picture."""
    return activate(ModelVersionFactory.create())
