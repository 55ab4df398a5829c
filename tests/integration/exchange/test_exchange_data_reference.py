"""Watchlists, assets and corporate actions through the unmodified clients."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.enums import CorporateActionsType
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.requests import CorporateActionsRequest
from alpaca.trading.enums import CorporateActionDateType, CorporateActionType
from alpaca.trading.models import Watchlist
from alpaca.trading.requests import (
    CreateWatchlistRequest,
    GetCorporateAnnouncementsRequest,
    UpdateWatchlistRequest,
)

from local.exchange.market.tape import Tape
from tests.integration.exchange.live import KEY_ID, SECRET_KEY, LiveExchange

ALL_TYPES = list(CorporateActionType)


def create(live: LiveExchange, name: str = "mine", symbols: tuple[str, ...] = ("AAPL", "BTC/USD")) -> Watchlist:
    made = live.trading.create_watchlist(CreateWatchlistRequest(name=name, symbols=list(symbols)))
    assert isinstance(made, Watchlist)
    return made


def symbols(found: Watchlist) -> list[str]:
    assert found.assets is not None
    return [asset.symbol for asset in found.assets]


class TestWatchlists:
    def test_is_found_again_with_its_assets_when_created(self, live: LiveExchange) -> None:
        made = create(live)

        found = live.trading.get_watchlist_by_id(made.id)

        assert found == made
        assert (found.name, symbols(found)) == ("mine", ["AAPL", "BTC/USD"])
        assert str(found.account_id) == str(live.trading.get_account().id)
        assert [each.id for each in live.trading.get_watchlists()] == [made.id]

    def test_gets_a_new_name_and_new_symbols_when_updated(self, live: LiveExchange) -> None:
        made = create(live)

        renamed = live.trading.update_watchlist_by_id(made.id, UpdateWatchlistRequest(name="other"))
        changed = live.trading.update_watchlist_by_id(made.id, UpdateWatchlistRequest(symbols=["MSFT"]))

        assert (renamed.name, symbols(renamed)) == ("other", ["AAPL", "BTC/USD"])
        assert (changed.name, symbols(changed)) == ("other", ["MSFT"])

    def test_grows_and_shrinks_by_one_symbol(self, live: LiveExchange) -> None:
        made = create(live)

        grown = live.trading.add_asset_to_watchlist_by_id(made.id, "IBM")
        shrunk = live.trading.remove_asset_from_watchlist_by_id(made.id, "BTC/USD")

        assert symbols(grown) == ["AAPL", "BTC/USD", "IBM"]
        assert symbols(shrunk) == ["AAPL", "IBM"]

    def test_is_gone_when_deleted(self, live: LiveExchange) -> None:
        made = create(live)

        live.trading.delete_watchlist_by_id(made.id)

        assert live.trading.get_watchlists() == []
        with pytest.raises(APIError, match="watchlist not found") as refused:
            live.trading.get_watchlist_by_id(made.id)
        assert (refused.value.status_code, refused.value.code) == (404, 40410000)

    def test_is_there_after_a_restart_when_the_ledger_is(self, tmp_path: Path, tape: Tape) -> None:
        first = LiveExchange(tmp_path, tape, start=date(2007, 1, 3), rate_limit=0)
        made = create(first)
        first.stop()

        second = LiveExchange(tmp_path, tape, start=date(2007, 1, 3), rate_limit=0)
        found = second.trading.get_watchlist_by_id(made.id)
        second.stop()

        assert found == made

    def test_belongs_to_one_account(self, live: LiveExchange) -> None:
        made = create(live)
        live.sim("POST", "accounts", key_id="OTHER", secret_key="other")
        other = {"APCA-API-KEY-ID": "OTHER", "APCA-API-SECRET-KEY": "other"}

        assert live.send("GET", f"/v2/watchlists/{made.id}", headers=other).status_code == 404
        assert live.send("GET", "/v2/watchlists", headers=other).json() == []

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"name": "mine"}, "watchlist name must be unique"),
            ({"symbols": ["AAPL"]}, "watchlist name must be 1 to 64 characters long"),
            ({"name": "x" * 65}, "watchlist name must be 1 to 64 characters long"),
            ({"name": "new", "symbols": ["NOPE"]}, "asset not found: NOPE"),
            ({"name": "new", "symbols": "AAPL"}, "symbols must be a list"),
        ],
    )
    def test_is_refused_when_it_makes_no_sense(self, live: LiveExchange, body: dict[str, object], message: str) -> None:
        create(live)

        answer = live.send("POST", "/v2/watchlists", json=body)

        assert (answer.status_code, answer.json()) == (422, {"code": 40010001, "message": message})

    def test_change_is_refused_when_the_symbol_does_not_fit(self, live: LiveExchange) -> None:
        path = f"/v2/watchlists/{create(live).id}"

        assert live.send("POST", path, json={"symbol": "AAPL"}).json()["message"] == "duplicate symbol: AAPL"
        assert live.send("POST", path, json={}).json()["message"] == "asset not found: "
        assert live.send("DELETE", f"{path}/IBM").status_code == 404
        assert live.send("DELETE", f"/v2/watchlists/{uuid4()}").status_code == 404
        assert live.send("GET", "/v2/watchlists/nonsense").status_code == 422


class TestAnnouncements:
    def test_name_the_split_when_it_is_near(self, start_exchange: Callable[..., LiveExchange]) -> None:
        live = start_exchange(day=date(2005, 2, 22))
        wanted = GetCorporateAnnouncementsRequest(
            ca_types=ALL_TYPES, since=date(2005, 2, 1), until=date(2005, 3, 31), symbol="AAPL"
        )

        (found,) = live.trading.get_corporate_announcements(wanted)

        assert (found.ca_type, found.ca_sub_type) == ("split", "stock_split")
        assert (found.ex_date, found.old_rate, found.new_rate) == (date(2005, 2, 28), 1, 2)
        assert live.trading.get_corporate_announcement_by_id(found.id) == found

    def test_do_not_tell_of_a_split_long_before_it(self, live: LiveExchange) -> None:
        wanted = GetCorporateAnnouncementsRequest(ca_types=ALL_TYPES, since=date(2007, 1, 1), until=date(2007, 3, 30))

        assert live.trading.get_corporate_announcements(wanted) == []

    def test_of_one_type_leave_out_the_others(self, start_exchange: Callable[..., LiveExchange]) -> None:
        live = start_exchange(day=date(2003, 2, 20))
        span = {"since": date(2003, 2, 1), "until": date(2003, 2, 28)}

        found = {
            kind: live.trading.get_corporate_announcements(GetCorporateAnnouncementsRequest(ca_types=[kind], **span))
            for kind in (CorporateActionType.SPLIT, CorporateActionType.DIVIDEND)
        }

        assert [(each.initiating_symbol, each.new_rate) for each in found[CorporateActionType.SPLIT]] == [("MSFT", 2)]
        dividends = [(each.initiating_symbol, each.cash) for each in found[CorporateActionType.DIVIDEND]]
        assert dividends == [("IBM", 0.15), ("MSFT", 0.08)]

    def test_by_a_date_that_is_not_known_are_answered_with_501(self, live: LiveExchange) -> None:
        wanted = GetCorporateAnnouncementsRequest(
            ca_types=ALL_TYPES,
            since=date(2007, 1, 1),
            until=date(2007, 1, 2),
            date_type=CorporateActionDateType.RECORD_DATE,
        )

        with pytest.raises(APIError) as refused:
            live.trading.get_corporate_announcements(wanted)

        assert refused.value.status_code == 501

    @pytest.mark.parametrize(
        "query",
        [
            "since=2007-01-01&until=2007-02-01",
            "ca_types=gift&since=2007-01-01&until=2007-02-01",
            "ca_types=split&since=2007-01-01",
            "ca_types=split&since=2007-01-01&until=2007-06-01",
            "ca_types=split&since=2007-02-01&until=2007-01-01",
        ],
    )
    def test_are_refused_when_the_request_is_wrong(self, live: LiveExchange, query: str) -> None:
        answer = live.send("GET", f"/v2/corporate_actions/announcements?{query}")

        assert (answer.status_code, answer.json()["code"]) == (422, 40010001)

    def test_are_404_when_the_id_is_unknown(self, live: LiveExchange) -> None:
        with pytest.raises(APIError) as refused:
            live.trading.get_corporate_announcement_by_id(uuid4())

        assert refused.value.status_code == 404


class TestCorporateActions:
    @pytest.fixture
    def client(self, start_exchange: Callable[..., LiveExchange]) -> CorporateActionsClient:
        live = start_exchange(day=date(2005, 6, 1))
        return CorporateActionsClient(KEY_ID, SECRET_KEY, url_override=live.url)

    def test_are_grouped_by_kind(self, client: CorporateActionsClient) -> None:
        request = CorporateActionsRequest(start=date(2005, 2, 1), end=date(2005, 3, 1))

        found = client.get_corporate_actions(request).data

        (split,) = found["forward_splits"]
        assert (split.symbol, split.cusip, split.new_rate) == ("AAPL", "037833100", 2)
        assert [(each.symbol, each.rate) for each in found["cash_dividends"]] == [("IBM", 0.18), ("MSFT", 0.08)]

    def test_are_all_there_when_read_in_pages(self, client: CorporateActionsClient) -> None:
        types = [CorporateActionsType.CASH_DIVIDEND]
        span = {"start": date(2000, 3, 1), "end": date(2005, 5, 31), "types": types}

        (whole,) = client.get_corporate_actions(CorporateActionsRequest(**span)).data.values()
        (some,) = client.get_corporate_actions(CorporateActionsRequest(limit=5, **span)).data.values()
        (of_ids,) = client.get_corporate_actions(CorporateActionsRequest(ids=[str(whole[3].id)])).data.values()

        assert len(whole) == 21 + 6
        assert some == whole[:5]
        assert of_ids == [whole[3]]


class TestClock:
    def test_and_calendar_know_an_early_close_and_a_holiday(self, start_exchange: Callable[..., LiveExchange]) -> None:
        live = start_exchange(day=date(2007, 7, 3))
        live.step(to="close")

        clock = live.trading.get_clock()

        assert clock.timestamp.astimezone(UTC) == datetime(2007, 7, 3, 17, tzinfo=UTC)
        assert not clock.is_open
        assert clock.next_open.astimezone(UTC) == datetime(2007, 7, 5, 13, 30, tzinfo=UTC)
        assert clock.next_close.astimezone(UTC) == datetime(2007, 7, 5, 20, tzinfo=UTC)
