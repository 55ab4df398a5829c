"""The journal: what was written is read, whatever a crash tore off, and its sum knows no order."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.book import Purpose
from engine.domain.broker_types import BrokerOrder
from engine.domain.journal import (
    Answered,
    Cancelled,
    FromTheFuture,
    Intended,
    OfflineExit,
    checksum,
    decode,
    encode,
    fold,
)
from engine.domain.submission import Outcome, Submission

IDS = st.sampled_from(["exit-1", "exit-2", "exit-3"])
START = datetime(2007, 1, 1, tzinfo=UTC)
TIMES = st.timedeltas(timedelta(0), timedelta(days=7000)).map(lambda since: START + since)
AMOUNTS = st.decimals(Decimal("0.000000001"), Decimal(10) ** 9, places=9)
TEXTS = st.text(max_size=20)

exits = st.builds(
    OfflineExit, id=IDS, trade_id=IDS, symbol=TEXTS, side=st.sampled_from(["buy", "sell"]),
    purpose=st.sampled_from([Purpose.EXIT, Purpose.STOP_LOSS]), qty=AMOUNTS,
    order_type=st.sampled_from(["market", "stop"]), stop_price=st.none() | AMOUNTS, exit_reason=TEXTS, reason=TEXTS,
    market_at=TIMES,
)  # fmt: skip
broker_orders = st.builds(
    BrokerOrder, broker_order_id=IDS, client_order_id=IDS, status=st.sampled_from(["new", "filled", "canceled"]),
    symbol=TEXTS, side=st.just("sell"), qty=AMOUNTS, type=st.just("market"), order_class=st.just("simple"),
    filled_qty=AMOUNTS, submitted_at=TIMES, updated_at=TIMES, filled_avg_price=st.none() | AMOUNTS,
    limit_price=st.none(), stop_price=st.none(), legs=st.just(()),
)  # fmt: skip
submissions = st.one_of(
    st.builds(Submission, id=IDS, outcome=st.just(Outcome.ACCEPTED), order=broker_orders),
    st.builds(
        Submission,
        id=IDS,
        outcome=st.sampled_from([Outcome.REJECTED, Outcome.UNKNOWN]),
        code=st.none() | TEXTS,
        reason=TEXTS,
    ),
)
acts = st.one_of(
    st.builds(Intended, at=TIMES, exit=exits),
    st.builds(Answered, at=TIMES, submission=submissions),
    st.builds(Cancelled, at=TIMES, trade_id=IDS, broker_order_id=TEXTS),
)
histories = st.lists(acts, max_size=6)
SOME = settings(max_examples=50)


def written(history) -> bytes:
    return b"".join(encode(act) for act in history)


@SOME
@given(histories)
def test_what_was_written_is_read(history):
    decoded = decode(written(history))

    assert decoded.acts == tuple(history)
    assert decoded.damaged == ()


@SOME
@given(histories, st.data())
def test_a_crash_loses_the_last_line_and_nothing_before_it(history, data):
    text = written(history)
    cut = data.draw(st.integers(0, len(text)))

    read = decode(text[:cut]).acts

    whole = text[:cut].count(b"\n")
    assert read[:whole] == tuple(history[:whole])
    assert len(read) <= whole + 1, "a line that lacks its end alone is whole"
    assert read == tuple(history[: len(read)])


@SOME
@given(histories.filter(bool), st.data())
def test_a_changed_byte_costs_its_line_and_no_other(history, data):
    text = bytearray(written(history))
    at = data.draw(st.integers(0, len(text) - 1).filter(lambda i: text[i] != ord("\n")))
    text[at] ^= data.draw(st.integers(1, 255).filter(lambda x: text[at] ^ x != ord("\n")))
    line = bytes(text[:at]).count(b"\n")

    decoded = decode(bytes(text))

    assert decoded.acts == (*history[:line], *history[line + 1 :])
    assert decoded.damaged == (line + 1,)


@SOME
@given(st.binary(max_size=200), histories)
def test_rubbish_before_whole_lines_hides_none_of_them(rubbish, history):
    decoded = decode(rubbish.replace(b"\n", b"") + b"\n" + written(history))

    assert decoded.acts == tuple(history)


@SOME
@given(histories, st.randoms(use_true_random=False), st.data())
def test_the_sum_is_the_same_when_acts_come_twice_and_in_any_order(history, random, data):
    again = history + data.draw(st.lists(st.sampled_from(history), max_size=5) if history else st.just([]))
    random.shuffle(again)

    assert fold(again) == fold(history)


@SOME
@given(histories)
def test_every_exit_that_was_written_down_is_told_once_and_every_answer_is_kept(history):
    told = fold(history)

    intended = {act.exit.id for act in history if isinstance(act, Intended)}
    answered = {act.submission.id for act in history if isinstance(act, Answered)}
    assert [exit_.id for exit_, _ in told.exits] == sorted(intended)
    assert {answer.id for answer in told.submissions} == answered - intended
    assert all(exit_.id == answer.id for exit_, answer in told.exits)
    assert all(answer.outcome is Outcome.UNKNOWN for exit_, answer in told.exits if exit_.id not in answered)


@SOME
@given(histories, broker_orders)
def test_what_the_broker_accepted_is_never_forgotten_for_a_lesser_answer(history, order):
    accepted = Submission(id="exit-1", outcome=Outcome.ACCEPTED, order=order)
    known = fold([*history, Answered(at=order.updated_at, submission=accepted)])

    answers = {answer.id: answer for answer in (*known.submissions, *(answer for _, answer in known.exits))}

    best = answers["exit-1"]
    assert best.outcome is Outcome.ACCEPTED
    assert best.order is not None
    assert (not best.order.is_open, best.order.filled_qty) >= (not order.is_open, order.filled_qty)


def test_a_line_of_a_newer_engine_is_not_guessed_at():
    body = b'{"format":2,"kind":"foreseen"}'

    with pytest.raises(FromTheFuture, match="newer engine"):
        decode(checksum(body).encode() + b" " + body + b"\n")
