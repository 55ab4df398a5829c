import pytest

from engine.domain.errors import AuthorityUnavailable
from engine.service.views import Book
from tests.unit.engine.builders import a_snapshot
from tests.unit.engine.fakes import FakeAuthority, ManualClock


class Counting(FakeAuthority):
    reads = 0
    fails = False

    def snapshot(self):  # type: ignore[no-untyped-def]  # as the fake it extends
        self.reads += 1
        if self.fails:
            raise AuthorityUnavailable("gone")
        return a_snapshot()


@pytest.fixture
def store() -> Counting:
    return Counting()


def test_the_book_is_read_once_when_nothing_changed_and_it_is_fresh(store: Counting, clock: ManualClock) -> None:
    book = Book(store, clock, age_max_s=1)

    book.read()
    book.read()
    assert store.reads == 1
    clock.sleep(1.5)
    book.read()

    assert store.reads == 2


def test_the_book_is_read_again_when_it_was_outdated(store: Counting, clock: ManualClock) -> None:
    book = Book(store, clock, age_max_s=60)
    book.read()

    book.outdate()
    book.read()

    assert store.reads == 2


def test_the_book_stays_outdated_when_reading_it_failed(store: Counting, clock: ManualClock) -> None:
    book = Book(store, clock, age_max_s=60)
    book.read()
    book.outdate()
    store.fails = True
    with pytest.raises(AuthorityUnavailable):
        book.read()

    store.fails = False
    book.read()

    assert store.reads == 3
    assert book.last is not None
