"""Which port each part listens on. All of them bind the loopback interface only."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from local.errors import PortInUse, SetupError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    """One port for each part; 0 means any free one."""

    gateway: int = 54321
    exchange: int = 54331
    engine_api: int = 8710
    metrics: int = 8711
    app: int = 8501

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Ports":
        """Read the ports that are set; the others keep their defaults.

        Raises
        ------
        SetupError when a value is no port number or two parts were given the same one
        """
        ports = cls(**{f.name: _number(environment, f.name, int(str(f.default))) for f in fields(cls)})
        _require_distinct(ports)
        return ports

    @classmethod
    def free(cls) -> "Ports":
        """Return ports that let the system choose every one."""
        return cls(0, 0, 0, 0, 0)

    def settled(self, *, zeros_only: bool = False) -> "Ports":
        """Replace every 0 but the gateway's, which finds its own, by a port that is free now.

        With `zeros_only`, ports that were asked for are not looked at: their part may be running already.

        Raises
        ------
        PortInUse when a port that was asked for is taken
        """
        wanted = [f.name for f in fields(self) if f.name != "gateway" and not (zeros_only and getattr(self, f.name))]
        # All are held at once, so that the system does not hand out one port twice.
        held = {name: listener(variable(name), getattr(self, name)) for name in wanted}
        numbers = {name: sock.getsockname()[1] for name, sock in held.items()}
        for sock in held.values():
            sock.close()
        return replace(self, **numbers)


def variable(name: str) -> str:
    """Return the environment variable that sets the port of this name."""
    return f"{name.upper()}_PORT"


def listener(variable_name: str, port: int) -> socket.socket:
    """Return a listening socket on the loopback interface.

    Raises
    ------
    PortInUse, naming the port and the variable that moves it
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":
        # Lets a restart have its port back at once; never shares one with a live listener.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((LOOPBACK, port))
        sock.listen(512)
    except OSError as e:
        sock.close()
        raise PortInUse(variable_name, port) from e
    return sock


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(variable(name), "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) > 65535:
        raise SetupError(f"{variable(name)} is {text!r}, which is no port. Set it to a number from 0 to 65535.")
    return int(text)


def _require_distinct(ports: Ports) -> None:
    seen: dict[int, str] = {}
    for field in fields(ports):
        port = getattr(ports, field.name)
        if port and port in seen:
            both = f"{variable(seen[port])} and {variable(field.name)}"
            raise SetupError(f"{both} are both {port}. Give each its own port.")
        seen[port] = field.name
