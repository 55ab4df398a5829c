"""What is started locally, and what of the user's own is used instead."""

import pytest

from local.errors import SetupError
from local.plan import Plan
from tests.support.exchange import free_port

SUPABASE = {
    "SUPABASE_URL": "https://project.example",
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_x",
    "SUPABASE_SECRET_KEY": "sb_secret_x",
}
ALPACA = {"ALPACA_API_KEY": "PKX", "ALPACA_SECRET_KEY": "secret"}


def test_everything_is_local_when_nothing_is_set() -> None:
    assert Plan.from_environment({"SUPABASE_URL": " ", "PATH": "/bin"}) == Plan({}, {})


def test_both_services_are_the_users_when_both_are_set() -> None:
    plan = Plan.from_environment(SUPABASE | ALPACA | {"ALPACA_BASE_URL": "https://live.example"})

    assert plan.supabase == SUPABASE
    assert plan.alpaca == ALPACA | {"ALPACA_BASE_URL": "https://live.example"}


@pytest.mark.parametrize("missing", [*SUPABASE, *ALPACA])
def test_the_missing_variable_is_named_when_a_service_is_half_set(missing: str) -> None:
    half_set = {name: value for name, value in (SUPABASE | ALPACA).items() if name != missing}

    with pytest.raises(SetupError, match=f"half set: .* without {missing}"):
        Plan.from_environment(half_set)


def test_the_address_is_named_when_supabase_does_not_answer() -> None:
    url = f"http://127.0.0.1:{free_port()}"

    with pytest.raises(SetupError, match=f"SUPABASE_URL {url} cannot be reached"):
        Plan.from_environment(SUPABASE | {"SUPABASE_URL": url}).require_reachable()
