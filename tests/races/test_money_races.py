"""Room for ten, asked for by thirty-two at once: never eleven, and never nine."""

from collections import Counter

import pytest

from tests.races.conftest import SYMBOLS, Floor, at_once, rounds

ROUNDS = rounds(full=200, sample=6)


def crowd(floor: Floor, *profiles: tuple[str, str], size: int = 32) -> list:
    """Return one act per requester: its own symbol, one of the profiles (name, shard), its own connection."""
    engines = [floor.engine(profiles[n % len(profiles)][1]) for n in range(size)]

    def act(n: int):
        profile = profiles[n % len(profiles)][0]
        return lambda: engines[n].ask(floor.entry(engines[n], profile, SYMBOLS[n]))[0]

    return [act(n) for n in range(size)]


def race(floor: Floor, acts: list, refusal: str) -> None:
    """Let the crowd ask in each round; exactly ten get in, the others are refused with the code."""
    for _ in range(ROUNDS):
        answers = at_once(*acts)
        found = Counter(answer.code or answer.state for answer in answers)
        assert found == {"ready": 10, refusal: len(acts) - 10}
        assert floor.watch.breaches() == []
        floor.clear()


class TestRoomForTen:
    @pytest.mark.timeout(900)
    def test_capital_for_ten_goes_to_ten(self, floor):
        race(floor, crowd(floor, ("Crowd 0", "main")), "CAPITAL_INSUFFICIENT")

    @pytest.mark.timeout(900)
    @pytest.mark.parametrize(
        ("section", "refusal"), [("gross_exposure", "GROSS_EXPOSURE"), ("sector_exposure", "SECTOR_EXPOSURE")]
    )
    def test_an_owners_exposure_for_ten_goes_to_ten_across_two_shards(self, floor, section, refusal):
        # Alice has 8 profiles of 25,000 USD: an eighth of that is room for ten entries of 2,500.
        ((capital,),) = floor.world.rows(
            "select sum(capital_usd) from profile_capital where owner_id = %s", floor.world.people["alice"]
        )
        floor.allow(**{section: {"max_pct": str(25000 / capital)}})

        race(floor, crowd(floor, ("Crowd 1", "east"), ("Crowd 3", "main")), refusal)

    def test_a_batch_that_asks_for_too_much_gets_what_fits(self, floor):
        engine = floor.world.engines["main"]

        answers = engine.ask(*(floor.entry(engine, "Crowd 0", symbol) for symbol in SYMBOLS))

        assert [answer.state for answer in answers] == ["ready"] * 10 + ["denied"] * 22
        assert floor.watch.breaches() == []
