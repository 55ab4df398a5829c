"""Word of what came in since a list was drawn. The list itself stays as it is while somebody reads it."""

import pandas as pd
import streamlit as st

from db.queries.orders import OrderFilters, orders_page
from pages.components.messages import page_boundary
from pages.session.guard import require_session

TICK_S = 5


@st.fragment(run_every=TICK_S)
def new_orders(filters: OrderFilters, shown: pd.DataFrame) -> None:
    """Offer to show newer orders once there are any that match."""
    with page_boundary("look for new orders"):
        newest = orders_page(require_session().client, filters, size=1).found
        if newest["id"].tolist() == shown["id"].head(1).tolist():
            st.caption("The newest first. Select an order to see what happened to it and what the gate judged.")
        elif st.button("There are new orders: show them", icon=":material/arrow_upward:", key="new_orders"):
            st.rerun()
