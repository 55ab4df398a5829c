"""Apprise behind the Notifier port: chat, e-mail, pagers and plain HTTP, each by its address."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType

from engine.domain.alerts import Message
from engine.domain.errors import ConfigError

SEND_WITHIN_S: Final = 8.0
NAME_CHARS: Final = 12


class AppriseNotifier:
    """Sends to each address on its own, so that what one refuses is not sent twice to the others."""

    def __init__(self, addresses: Sequence[str], key: str) -> None:
        """Take Apprise addresses; `key` makes their names, which tell nothing of them.

        Raises
        ------
        ConfigError when an address is not understood
        """
        self._services = {
            _name(address, key): _service(address, position) for position, address in enumerate(addresses, start=1)
        }

    @property
    def targets(self) -> Sequence[str]:
        """Return the targets' names, in the order of their addresses."""
        return tuple(self._services)

    def send(self, target: str, message: Message) -> str | None:
        """Send once, within SEND_WITHIN_S seconds; return None when the target took it, otherwise why not."""
        result = self._services[target].notify(
            title=message.title,
            body=message.body,
            notify_type=_kind(message),
            body_format=NotifyFormat.TEXT,
            timeout=SEND_WITHIN_S,
        )
        if result:
            return None
        said = [entry.message for entry in result.logs()]
        return (said[-1] if said else result.status.name.lower())[:200]


def _name(address: str, key: str) -> str:
    return hmac.new(key.encode(), address.encode(), hashlib.sha256).hexdigest()[:NAME_CHARS]


def _service(address: str, position: int) -> Apprise:
    service = Apprise(asset=AppriseAsset(app_id="Interlock", app_desc="Interlock alerts", secure_logging=True))
    if not service.add(address):
        scheme = address.split("://")[0][:20] if "://" in address else "no scheme"
        raise ConfigError(
            f"ALERT_URLS: address {position} ({scheme}) is not understood. Write addresses as Apprise does, such as "
            "mailto://user:password@example.com or json://host/path, with spaces between them."
        )
    return service


def _kind(message: Message) -> NotifyType:
    if message.is_critical:
        return NotifyType.FAILURE
    return NotifyType.SUCCESS if message.is_good_news else NotifyType.WARNING
