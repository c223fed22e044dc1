"""From rows of dataset versions to what the machine-learning core takes."""

import pytest

from inference.datasets.selectors import listing_of
from inference.ml.data import DataError
from inference.ml.finder import Box
from inference.models import DatasetImage
from tests.factories import DatasetFactory, dataset_version

pytestmark = pytest.mark.django_db


def test_items_of_a_version() -> None:
    version = dataset_version(each=2, groups=1)
    DatasetImage.objects.filter(label="neutrophil").update(box=[3, 4, 50, 60], part="test")
    listing = listing_of([version])
    assert listing.classes == ("lymphocyte", "neutrophil")
    assert listing.groups_unknown == ()
    assert [item.path.is_file() for item in listing.items] == [True] * 4
    cell = next(item for item in listing.items if item.label == "neutrophil")
    assert (cell.box, cell.part) == (Box(3, 4, 50, 60), "test")
    assert cell.group == f"{version.dataset.name}:neutrophil-0"


def test_two_versions_of_a_dataset_count_a_cell_once() -> None:
    dataset = DatasetFactory.create()
    versions = [
        dataset_version(each=1, dataset=dataset, groups=1),
        dataset_version(each=2, dataset=dataset, groups=1),
    ]
    DatasetImage.objects.filter(version=versions[1]).update(label="neutrophil")
    DatasetImage.objects.filter(version=versions[0]).update(label="neutrophil")
    assert len(listing_of(versions).items) == 4


def test_identical_files_are_of_one_photograph() -> None:
    one, other = dataset_version(["a"], each=1, groups=1), dataset_version(["a"], each=1, groups=1)
    DatasetImage.objects.filter(version=other).update(box=[1, 2, 30, 40])
    items = listing_of([one, other]).items
    assert len(items) == 2
    assert len({item.group for item in items}) == 1


def test_the_class_map_renames_and_leaves_out() -> None:
    version = dataset_version(["blast", "odd", "ig"], each=1)
    listing = listing_of([version], {"blast": "lymphocyte", "odd": ""})
    assert listing.classes == ("ig", "lymphocyte")
    assert listing.groups_unknown == (version.dataset.name,)


def test_a_cell_in_two_classes_is_refused_by_name() -> None:
    versions = [dataset_version(["a"], each=1), dataset_version(["b"], each=1)]
    with pytest.raises(DataError, match=r"a/0.png of .* b/0.png of .* in two classes, a and b"):
        listing_of(versions)
    assert listing_of(versions, {"a": "b"}).classes == ("b",)


def test_a_cell_in_two_classes_can_be_left_out() -> None:
    versions = [dataset_version(["a"], each=1), dataset_version(["b"], each=2)]
    disputed: set[tuple[str, Box | None]] = set()
    (left,) = listing_of(versions, disputed=disputed).items
    assert left.label == "b"
    assert disputed == {listing_of([versions[0]]).items[0].key}


def test_nothing_left_is_said() -> None:
    with pytest.raises(DataError, match="No picture is left"):
        listing_of([dataset_version(["a"], each=1)], {"a": ""})
