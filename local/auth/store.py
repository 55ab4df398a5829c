"""Accounts and sessions in the database's `auth` schema."""

from enum import Enum
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from local.auth.settings import REFRESH_GRACE, SESSION_IDLE_MAX

User = dict[str, Any]
Pool = AsyncConnectionPool[AsyncConnection[DictRow]]

POOL_SIZE_MAX = 6
# Never interpolated from outside: these are the columns that a change may name.
_CHANGEABLE = {"email", "encrypted_password", "raw_user_meta_data", "raw_app_meta_data", "banned_until"}


class Rotation(Enum):
    """What became of a refresh token that was shown."""

    UNKNOWN = "its session has ended"
    REUSED = "it was used before, so its session was ended"
    BANNED = "its account is suspended"
    DONE = "it was exchanged"


def make_pool(url: str) -> Pool:
    """Return a pool that is not open yet."""
    return AsyncConnectionPool(
        url,
        min_size=1,
        max_size=POOL_SIZE_MAX,
        timeout=5,
        open=False,
        check=AsyncConnectionPool.check_connection,  # one that died with a restarted Postgres is not handed out
        connection_class=AsyncConnection[DictRow],
        kwargs={"row_factory": dict_row, "autocommit": True},
    )


class Users:
    """The accounts."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def by_email(self, email: str) -> User | None:
        """Return the account with this address, whatever its case."""
        return await self._one("select * from auth.users where lower(email) = lower(%s)", email)

    async def by_id(self, user_id: UUID) -> User | None:
        """Return one account."""
        return await self._one("select * from auth.users where id = %s", user_id)

    async def page(self, *, number: int, size: int) -> tuple[list[User], int]:
        """Return one page of accounts, oldest first, and how many there are in all."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(
                "select * from auth.users order by created_at, id limit %s offset %s", (size, (number - 1) * size)
            )
            users = await rows.fetchall()
            total = await (await connection.execute("select count(*) as n from auth.users")).fetchone()
        return users, int(total["n"]) if total else 0

    async def add(self, *, email: str, password_hash: str, user_metadata: Any, app_metadata: Any) -> User | None:
        """Create an account; None when the address is taken."""
        return await self._one(
            """
            insert into auth.users (email, encrypted_password, raw_user_meta_data, raw_app_meta_data)
            values (lower(%s), %s, %s, '{"provider": "email", "providers": ["email"]}'::jsonb || %s)
            on conflict (lower(email)) do nothing
            returning *
            """,
            email,
            password_hash,
            Jsonb(user_metadata),
            Jsonb(app_metadata),
        )

    async def change(self, user_id: UUID, **columns: Any) -> User | None:
        """Set columns of an account; None when there is no such account. A new password ends its sessions."""
        if not columns.keys() <= _CHANGEABLE:
            raise ValueError(f"cannot change {sorted(columns.keys() - _CHANGEABLE)}")
        values = [Jsonb(value) if isinstance(value, dict) else value for value in columns.values()]
        settings = "".join(f"{name} = %s, " for name in columns)
        user = await self._one(
            f"update auth.users set {settings} updated_at = now() where id = %s returning *", *values, user_id
        )
        if user and "encrypted_password" in columns:
            await self._one("delete from auth.sessions where user_id = %s returning id", user_id)
        return user

    async def remove(self, user_id: UUID) -> bool:
        """Delete an account with its sessions; False when there was none."""
        return await self._one("delete from auth.users where id = %s returning id", user_id) is not None

    async def _one(self, query: str, *values: Any) -> User | None:
        async with self._pool.connection() as connection:
            return await (await connection.execute(query.encode(), values)).fetchone()


class Sessions:
    """The sign-ins. A session's refresh tokens are numbered; only the current number is good."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(self, user_id: UUID) -> dict[str, Any]:
        """Record a sign-in and forget those that nobody used for long."""
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(
                "delete from auth.sessions where user_id = %s and refreshed_at < now() - %s",
                (user_id, SESSION_IDLE_MAX),
            )
            await connection.execute(
                "update auth.users set last_sign_in_at = now(), updated_at = now() where id = %s", (user_id,)
            )
            rows = await connection.execute("insert into auth.sessions (user_id) values (%s) returning *", (user_id,))
            session = await rows.fetchone()
        assert session is not None
        return session

    async def rotate(self, session_id: UUID, number: int) -> tuple[Rotation, dict[str, Any]]:
        """Exchange a refresh token for the next one, once.

        The previous token still answers with the current one for a moment, for a client whose
        answer was lost or which asked twice at once. Any older one ends the session, since then two
        parties hold its tokens.
        """
        async with self._pool.connection() as connection, connection.transaction():
            rows = await connection.execute(
                """
                select s.*, clock_timestamp() - s.refreshed_at <= %s as in_grace,
                       coalesce(u.banned_until > now(), false) as banned,
                       s.refreshed_at < now() - %s as idle
                from auth.sessions s join auth.users u on u.id = s.user_id
                where s.id = %s
                for update of s
                """,
                (REFRESH_GRACE, SESSION_IDLE_MAX, session_id),
            )
            session = await rows.fetchone()
            if session is None or session["idle"]:
                return Rotation.UNKNOWN, {}
            if session["banned"]:
                return Rotation.BANNED, {}
            current = session["refresh_token_counter"]
            if number == current:
                return Rotation.DONE, await _advance(connection, session_id)
            if number == current - 1 and session["in_grace"]:
                return Rotation.DONE, session
            await connection.execute("delete from auth.sessions where id = %s", (session_id,))
            return Rotation.REUSED, {}

    async def exists(self, session_id: UUID) -> bool:
        """Return whether the sign-in has not been ended."""
        async with self._pool.connection() as connection:
            rows = await connection.execute("select 1 from auth.sessions where id = %s", (session_id,))
            return await rows.fetchone() is not None

    async def end(self, *, user_id: UUID, session_id: UUID, scope: str) -> None:
        """End this session ("local"), the user's other ones ("others"), or all of them ("global")."""
        condition = {"local": "id = %(session)s", "others": "id <> %(session)s", "global": "true"}[scope]
        query = f"delete from auth.sessions where user_id = %(user)s and {condition}"
        async with self._pool.connection() as connection:
            await connection.execute(query.encode(), {"user": user_id, "session": session_id})


async def _advance(connection: AsyncConnection[DictRow], session_id: UUID) -> dict[str, Any]:
    rows = await connection.execute(
        """
        update auth.sessions
        set refresh_token_counter = refresh_token_counter + 1, refreshed_at = clock_timestamp()
        where id = %s
        returning *
        """,
        (session_id,),
    )
    session = await rows.fetchone()
    assert session is not None
    return session
