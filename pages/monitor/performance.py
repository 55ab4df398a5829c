"""Performance: what was earned, with what risk, by what, and against what."""

import streamlit as st

from db.queries.performance import BIN_STEP, BINS_FROM
from engine.domain.metrics import drawdowns, monthly_returns
from pages.charts.performance import (
    growth_figure,
    growth_in_words,
    spread_figure,
    spread_in_words,
)
from pages.components.breakdown import breakdown
from pages.components.calendar import months
from pages.components.execution import execution, rolling
from pages.components.figures import figures
from pages.components.filters import performance_filters
from pages.components.kpis import result_figures, risk_figures, trade_kpis
from pages.components.messages import show_empty
from pages.components.performance import compared_words, read_performance
from pages.components.results import results_by_day
from pages.session.guard import require_session
from pages.session.profiles import known_profiles

session = require_session()

st.title("Performance")
known = known_profiles(session)
choice = performance_filters(known)
found = read_performance(session, choice)
if found is None or found.now.returns.empty:
    show_empty("Fewer than two sessions are recorded for this choice. Figures appear after the second one.")
    st.stop()

now = found.now
st.caption(compared_words(found))
figures(result_figures(found))

st.plotly_chart(growth_figure(now.returns, drawdowns(now.returns), now.benchmark, choice.benchmark), key="growth",
                alt=growth_in_words(now.returns, now.benchmark, choice.benchmark))  # fmt: skip
st.subheader("Months")
months(monthly_returns(now.returns))

st.subheader("Days")
results_by_day(now.results_usd)
st.subheader("Risk and return")
figures(risk_figures(found))
st.subheader("Steadiness")
rolling(now)
st.subheader("Execution")
execution(session, now, choice.profile_ids)
st.subheader("Closed trades")
figures(trade_kpis(found))
st.plotly_chart(spread_figure(now.statistics.bins, BINS_FROM, BIN_STEP), key="spread",
                alt=spread_in_words(now.statistics.bins, BINS_FROM, BIN_STEP))  # fmt: skip
st.subheader("What brought it")
breakdown(now.statistics, dict(zip(known["id"], known["name"], strict=True)))
