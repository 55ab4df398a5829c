from pathlib import Path

import pytest

from engine.service.health_tracker import HealthTracker
from engine.service.views import Book
from tests.unit.engine.fakes import FakeAuthority, FakeBroker, FakeMarketData, ManualClock, a_health


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def authority() -> FakeAuthority:
    return FakeAuthority()


@pytest.fixture
def market_data() -> FakeMarketData:
    return FakeMarketData()


@pytest.fixture
def health(clock: ManualClock, tmp_path: Path) -> HealthTracker:
    return a_health(clock, tmp_path)


@pytest.fixture
def book(authority: FakeAuthority, clock: ManualClock) -> Book:
    return Book(authority, clock, age_max_s=0)
