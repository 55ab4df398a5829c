"""The API's port: who finds it taken, and who finds it open."""

import socket

import pytest

from engine.api import listen
from engine.domain.errors import ConfigError


def test_who_connects_before_anybody_serves_waits_and_is_not_turned_away():
    with listen(0, "ENGINE_API_PORT") as listener:
        socket.create_connection(listener.getsockname(), timeout=5).close()


def test_a_port_that_is_taken_is_named_with_its_setting():
    with listen(0, "ENGINE_API_PORT") as listener:
        port = listener.getsockname()[1]

        with pytest.raises(ConfigError, match=f"port {port} is in use.*ENGINE_API_PORT"):
            listen(port, "ENGINE_API_PORT")
