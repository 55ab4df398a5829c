"""What can go wrong at start-up. Every message says what to do; the commands print it and exit with 1."""


class SetupError(Exception):
    """Something outside this program is not as it must be, and a person can change it."""


class PortInUse(SetupError):
    """Another program listens on a port that one of our parts needs."""

    def __init__(self, variable: str, port: int) -> None:
        super().__init__(
            f"Port {port} is in use by another program. Stop that program, or set {variable} to a free port "
            f"(0 means any), for example: {variable}=0 make run"
        )


class Busy(SetupError):
    """Another Interlock holds this home."""


class ChildFailed(SetupError):
    """A part did not come up, or went down on its own."""
