"""What the gateway is told by its starter, through the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

PASSWORD_LENGTH_MIN = 12
PASSWORD_LENGTH_MAX = 512  # bounds what one hash can cost
ACCESS_TOKEN_LIFETIME = timedelta(hours=1)
REFRESH_GRACE = timedelta(seconds=10)
SESSION_IDLE_MAX = timedelta(days=30)
FAILURE_WINDOW_S = 60.0
FAILURES_PER_ACCOUNT = 10
FAILURES_PER_ADDRESS = 60  # the pages sign everybody in from one address


@dataclass(frozen=True, slots=True)
class Settings:
    """Keys, and where the parts behind the gateway are."""

    listen_fd: int
    url: str
    rest_socket: Path
    database_url: str
    publishable_key: str
    secret_key: str
    jwt_secret: str
    refresh_secret: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read what `environment` returned."""
        return cls(
            listen_fd=int(environment["GATEWAY_LISTEN_FD"]),
            url=environment["GATEWAY_URL"],
            rest_socket=Path(environment["GATEWAY_REST_SOCKET"]),
            database_url=environment["GATEWAY_DATABASE_URL"],
            publishable_key=environment["GATEWAY_PUBLISHABLE_KEY"],
            secret_key=environment["GATEWAY_SECRET_KEY"],
            jwt_secret=environment["GATEWAY_JWT_SECRET"],
            refresh_secret=environment["GATEWAY_REFRESH_SECRET"],
        )

    def environment(self) -> dict[str, str]:
        """Return the variables that `from_environment` reads."""
        return {
            "GATEWAY_LISTEN_FD": str(self.listen_fd),
            "GATEWAY_URL": self.url,
            "GATEWAY_REST_SOCKET": str(self.rest_socket),
            "GATEWAY_DATABASE_URL": self.database_url,
            "GATEWAY_PUBLISHABLE_KEY": self.publishable_key,
            "GATEWAY_SECRET_KEY": self.secret_key,
            "GATEWAY_JWT_SECRET": self.jwt_secret,
            "GATEWAY_REFRESH_SECRET": self.refresh_secret,
        }
