"""`python -m local`: Postgres, PostgREST and the gateway until Ctrl-C or SIGTERM."""

import os
import sys
import time

from local.errors import SetupError
from local.home import Home
from local.plan import read_environment
from local.ports import Ports
from local.signals import StopRequested, stop_on_signals
from local.stack import start_stack


def main() -> int:
    """Run the stack in the foreground and return the exit code."""
    environment = read_environment(os.environ)
    with stop_on_signals():
        try:
            _serve(environment)
        except SetupError as e:
            print(f"interlock: {e}", file=sys.stderr)
            return 1
        except StopRequested:
            return 0
    return 0


def _serve(environment: dict[str, str]) -> None:
    home, ports = Home.from_environment(environment), Ports.from_environment(environment).settled(zeros_only=True)
    stack = start_stack(home, ports, report=lambda line: print(line, flush=True))
    try:
        print(f"Ready at {stack.env['SUPABASE_URL']}; keys in {home.env_file}", flush=True)
        while True:
            stack.require_alive()
            time.sleep(0.5)
    finally:
        stack.stop()


if __name__ == "__main__":
    sys.exit(main())
