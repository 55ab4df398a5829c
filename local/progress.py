"""What the person at the terminal sees while things start."""

import time

from rich.console import Console
from rich.status import Status
from rich.table import Table

from local.accounts import Account


class Progress:
    """One line for each step: a spinner while it runs, its time when it is done."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._status: Status | None = None
        self._step = ""
        self._since = 0.0

    def step(self, text: str) -> None:
        """Begin a step; the one before is done."""
        self.done()
        self._step, self._since = text, time.monotonic()
        self._status = self._console.status(text)
        self._status.start()

    def done(self) -> None:
        """End the current step."""
        if self._status is None:
            return
        self._status.stop()
        self._status = None
        self.finished(self._step, time.monotonic() - self._since)

    def finished(self, step: str, seconds: float) -> None:
        """Print that a step is done and how long it took."""
        self._console.print(f"[green]✓[/] {step} [dim]{seconds:.1f} s[/]")

    def abandon(self) -> None:
        """Take the spinner away; the current step did not end well."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text)

    def welcome(self, app_url: str, accounts: list[Account]) -> None:
        """Print where the pages are and who can sign in."""
        self.done()
        self._console.print(f"\n[bold]Interlock is running at[/] [link={app_url}]{app_url}[/link]\n")
        if accounts:
            table = Table("e-mail", "password", "role", box=None, padding=(0, 2))
            for account in accounts:
                table.add_row(account.email, account.password, account.role)
            self._console.print(table)
        self._console.print("\nCtrl-C stops everything and keeps the data.")
