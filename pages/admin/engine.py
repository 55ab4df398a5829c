"""Engine: what runs, what is late, and where the books differ from the broker's, for operators and admins."""

from functools import partial

import streamlit as st

from db.queries.engine_state import engines, open_findings, past_findings, reconciliation_runs
from db.queries.jobs import job_health
from db.queries.paging import all_pages
from pages.components.engine_jobs import engine_cards, jobs_table
from pages.components.export import csv_button
from pages.components.findings import findings_table, open_finding_list, runs_table
from pages.components.formats import count
from pages.components.messages import show_empty
from pages.components.pager import Pager
from pages.components.time_zone import chosen_zone
from pages.session.guard import require_session
from pages.session.status import database_time, read_status

session = require_session("operator", "admin")
at, zone = database_time(read_status(session.client)), chosen_zone()

st.title("Engine")
running, jobs = engines(session.client), job_health(session.client)
if running.empty:
    show_empty("No engine has ever run here. Start one: python -m engine.")
engine_cards(running, jobs, at, zone)
if not jobs.empty:
    st.subheader("Jobs")
    jobs_table(jobs, at, zone)
    csv_button("jobs", lambda: jobs)

held = open_findings(session.client)
st.subheader(f"Books and broker: {count(len(held), 'difference')}")
if held.empty:
    show_empty("At the last comparison our books and the broker's agreed.")
open_finding_list(held, at)
with st.expander("Past differences", icon=":material/history:"):
    past = Pager("findings", ())
    gone = past_findings(session.client, past.cursor)
    findings_table(gone.found, zone)
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        past.buttons(gone.next)
        csv_button("findings", lambda: all_pages(partial(past_findings, session.client)))
with st.expander("Comparisons", icon=":material/compare_arrows:"):
    pager = Pager("runs", ())
    runs = reconciliation_runs(session.client, pager.cursor)
    runs_table(runs.found, zone)
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        pager.buttons(runs.next)
        csv_button("comparisons", lambda: all_pages(partial(reconciliation_runs, session.client)))
