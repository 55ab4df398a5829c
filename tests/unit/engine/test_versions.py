import pytest

from engine.domain.versions import SCHEMA, misfit, parts
from local.migrations import MIGRATIONS


def test_the_engine_knows_the_newest_migration():
    assert max(file.stem.partition("_")[0] for file in MIGRATIONS.glob("*.sql")) == SCHEMA


@pytest.mark.parametrize(
    ("schema", "oldest_engine"), [(SCHEMA, "0.2.0"), (SCHEMA, "0.2"), ("99990101000000", "0.1.9"), (SCHEMA, None)]
)
def test_an_engine_may_run_on_its_own_schema_and_on_a_newer_one_that_allows_it(schema, oldest_engine):
    assert misfit(version="0.2.0", schema=schema, oldest_engine=oldest_engine) is None


@pytest.mark.parametrize("schema", [None, "20261121130000"])
def test_an_older_database_is_not_used_and_the_message_says_what_to_run(schema):
    problem = misfit(version="0.2.0", schema=schema, oldest_engine="0.1.0")

    assert problem is not None
    for words in ("supabase db push --workdir db", "python -m engine --upgrade", "ENGINE_UPGRADE_DB=1"):
        assert words in problem


def test_an_engine_that_is_too_old_is_told_to_be_upgraded():
    problem = misfit(version="0.2.0", schema="99990101000000", oldest_engine="0.10.0")

    assert problem is not None and "Install the current version" in problem


@pytest.mark.parametrize(
    ("version", "numbers"), [("0.10.1", (0, 10, 1)), ("0.2.0rc1", (0, 2, 0)), ("a tool", ()), ("", ())]
)
def test_versions_are_compared_as_numbers(version, numbers):
    assert parts(version) == numbers
