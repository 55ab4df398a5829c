"""What is read of our books costs by how much there is, not by its square."""

PROFILES = 300


def rows_read(db, table, query, told):
    """Return how many rows of a table a query goes through, by itself and over indexes."""
    counted = "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relid = %s::regclass"
    before = db.execute(counted, [table]).fetchone()[0]
    db.execute(query, told)
    return db.execute(counted, [table]).fetchone()[0] - before


def test_a_shards_account_is_looked_up_once_and_not_for_each_profile(engine, db):
    engine.held()
    with db.transaction(force_rollback=True):
        db.execute(
            "insert into profiles (owner_id, name, strategy, symbols, shard, capital_usd)"
            " select owner_id, 'many ' || n, strategy, symbols, shard, 1000 from generate_series(1, %s) n,"
            " (select * from profiles where shard = 'main' limit 1) f",
            [PROFILES],
        )
        (there,) = db.execute("select count(*) from profiles").fetchone()

        read = rows_read(db, "profiles", "select reconcile_books('main', %s)", [engine.token])

    assert there > PROFILES
    assert 0 < read <= 5 * there
