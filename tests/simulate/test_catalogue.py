import numpy as np
import pytest

from seqrec.simulate.catalogue import ShopCatalogue, make_catalogue
from seqrec.simulate.settings import ShopSettings


@pytest.fixture(scope="module")
def catalogue() -> ShopCatalogue:
    return make_catalogue(ShopSettings(items=200, categories=8, days=60), np.random.Generator(np.random.Philox(3)))


def test_ids_and_titles_are_all_different(catalogue: ShopCatalogue) -> None:
    assert len(set(catalogue.item_ids)) == len(set(catalogue.titles)) == 200


def test_titles_name_the_category_s_kinds_of_item(catalogue: ShopCatalogue) -> None:
    phones = [
        t for t, c in zip(catalogue.titles, catalogue.category, strict=True) if catalogue.categories[c] == "Phones"
    ]
    assert len(phones) == 25
    assert all("Phone," in title or "Smartphone," in title for title in phones)


def test_shelf_is_a_distribution_over_each_category_every_day(catalogue: ShopCatalogue) -> None:
    shelf = catalogue.shelf(70)
    for c in range(8):
        np.testing.assert_allclose(shelf[:, catalogue.category == c].sum(axis=1), 1)


def test_items_are_on_the_shelf_from_their_launch_on(catalogue: ShopCatalogue) -> None:
    shelf = catalogue.shelf(61)
    assert np.any(catalogue.launch_day > 0)
    np.testing.assert_array_equal(shelf > 0, np.arange(61)[:, None] >= catalogue.launch_day)


def test_popularity_moves_with_the_calendar(catalogue: ShopCatalogue) -> None:
    first, later = catalogue.shelf(60)[[0, 59]]
    there = catalogue.launch_day == 0
    assert np.corrcoef(first[there], later[there])[0, 1] < 0.99


def test_successors_are_others_of_the_wanted_category(catalogue: ShopCatalogue) -> None:
    assert np.all(catalogue.category[catalogue.alternatives] == catalogue.category[:, None])
    assert np.all(catalogue.alternatives != np.arange(200)[:, None])
    cases = catalogue.complements[catalogue.category == catalogue.categories.index("Phones")]
    assert {catalogue.categories[c] for c in catalogue.category[cases].ravel()} == {"Phone accessories"}


@pytest.mark.parametrize("table", ["alternatives", "complements"])
def test_successors_of_an_item_are_different(catalogue: ShopCatalogue, table: str) -> None:
    ordered = np.sort(getattr(catalogue, table), axis=1)
    assert np.all(ordered[:, 1:] > ordered[:, :-1])
