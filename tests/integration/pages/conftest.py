"""Thirty traded sessions in the real database."""

import psycopg
import pytest
from supabase import Client

from tests.support.story import Story


@pytest.fixture
def story(clean_db: psycopg.Connection, service_client: Client) -> Story:
    told = Story(service_client, dict(clean_db.execute("select name, id from profiles").fetchall()))
    told.tell(sessions=30)
    return told
