"""Managing accounts, with the secret key alone."""

import pytest
from supabase import Client
from supabase_auth.errors import AuthApiError

from tests.integration.stack.conftest import Http, Person
from tests.support.clients import SignIn


def test_an_account_is_listed_read_changed_and_deleted(admin_api: Client, person: Person) -> None:
    admin = admin_api.auth.admin

    assert person.id in {user.id for user in admin.list_users(per_page=1000)}
    assert admin.get_user_by_id(person.id).user.email == person.email
    changed = admin.update_user_by_id(person.id, {"user_metadata": {"desk": "7"}, "email": f"new-{person.email}"})
    assert changed.user.user_metadata == {"desk": "7"}
    assert changed.user.email == f"new-{person.email}"


def test_it_is_gone_when_deleted(admin_api: Client) -> None:
    made = admin_api.auth.admin.create_user({"email": "gone@example.org", "password": "long enough for all"})

    admin_api.auth.admin.delete_user(made.user.id)

    with pytest.raises(AuthApiError, match="User not found"):
        admin_api.auth.admin.get_user_by_id(made.user.id)


def test_users_come_in_pages(admin_api: Client, person: Person) -> None:
    admin = admin_api.auth.admin

    one_by_one = [admin.list_users(page=number, per_page=1)[0].id for number in range(1, 6)]

    assert one_by_one == [user.id for user in admin.list_users(per_page=1000)][:5]


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"email": "a@example.org", "password": "short"}, "at least 12"),
        ({"email": "a@example.org", "password": "x" * 513}, "at most 512"),
        ({"email": "a@example.org"}, "password is required"),
        ({"email": "no address", "password": "long enough for all"}, "invalid format"),
        ({"email": "a@example.org", "password": "long enough for all", "role": "service_role"}, "Not supported"),
        ({"email": "admin@interlock.local", "password": "long enough for all"}, "already been registered"),
        ({"email": "ADMIN@interlock.local", "password": "long enough for all"}, "already been registered"),
    ],
)
def test_an_account_is_refused_with_the_reason(admin_api: Client, attributes: dict[str, str], says: str) -> None:
    with pytest.raises(AuthApiError, match=says) as refused:
        admin_api.auth.admin.create_user(attributes)  # type: ignore[arg-type]

    assert refused.value.status == 422


def test_another_accounts_address_cannot_be_taken_over(admin_api: Client, person: Person) -> None:
    with pytest.raises(AuthApiError, match="already been registered"):
        admin_api.auth.admin.update_user_by_id(person.id, {"email": "admin@interlock.local"})


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_the_publishable_key_opens_nothing(http: Http, person: Person, method: str) -> None:
    path = "/auth/v1/admin/users" if method in {"GET", "POST"} else f"/auth/v1/admin/users/{person.id}"

    answer = http(method, path)

    assert (answer.status_code, answer.json()["error_code"]) == (403, "not_admin")


def test_a_users_token_opens_nothing_even_beside_the_secret_key(
    http: Http, env: dict[str, str], sign_in: SignIn
) -> None:
    session = sign_in("admin").auth.get_session()
    assert session is not None

    answer = http(
        "GET",
        "/auth/v1/admin/users",
        key=env["SUPABASE_SECRET_KEY"],
        headers={"Authorization": f"Bearer {session.access_token}"},
    )

    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["/auth/v1/token", "/auth/v1/user", "/auth/v1/admin/users", "/auth/v1/settings"])
@pytest.mark.parametrize("key", ["", "sb_publishable_wrong", "sb_secret_wrong"])
def test_every_endpoint_asks_for_a_key(http: Http, path: str, key: str) -> None:
    assert http("GET", path, key=key).status_code == 401


def test_an_unknown_endpoint_is_said_to_be_unknown(http: Http) -> None:
    assert http("GET", "/auth/v1/nothing").status_code == 404
    assert http("GET", "/storage/v1/bucket").status_code == 404
