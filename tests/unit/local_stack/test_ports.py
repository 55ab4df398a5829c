"""Ports: read from the environment, checked before anything starts."""

import socket

import pytest

from local.errors import PortInUse, SetupError
from local.ports import Ports, listener


class TestReading:
    def test_defaults_hold_when_nothing_is_set(self) -> None:
        assert Ports.from_environment({}) == Ports()

    def test_a_port_is_taken_over_when_it_is_set(self) -> None:
        ports = Ports.from_environment({"ENGINE_API_PORT": "9000", "APP_PORT": " 0 "})

        assert (ports.engine_api, ports.app, ports.gateway) == (9000, 0, Ports().gateway)

    @pytest.mark.parametrize("text", ["http", "-1", "65536", "80.0", "1e3"])
    def test_the_variable_is_named_when_its_value_is_no_port(self, text: str) -> None:
        with pytest.raises(SetupError, match="GATEWAY_PORT"):
            Ports.from_environment({"GATEWAY_PORT": text})

    def test_both_variables_are_named_when_two_parts_share_a_port(self) -> None:
        with pytest.raises(SetupError, match="METRICS_PORT and APP_PORT are both 9000"):
            Ports.from_environment({"METRICS_PORT": "9000", "APP_PORT": "9000"})


class TestSettling:
    def test_every_zero_becomes_a_port_of_its_own(self) -> None:
        ports = Ports.free().settled()

        settled = [ports.exchange, ports.engine_api, ports.metrics, ports.app]
        assert 0 not in settled
        assert len(set(settled)) == len(settled)

    def test_port_and_variable_are_named_when_a_port_is_taken(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]

            with pytest.raises(PortInUse, match=rf"Port {port} is in use.*EXCHANGE_PORT"):
                Ports(exchange=port).settled()

    def test_listener_is_on_the_loopback_interface_only(self) -> None:
        with listener("GATEWAY_PORT", 0) as sock:
            assert sock.getsockname()[0] == "127.0.0.1"
