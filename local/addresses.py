"""What LOCAL_HOME/env says: where each part is, and the keys to it."""

from local.home import Keys
from local.ports import LOOPBACK, Ports


def supabase(keys: Keys, *, url: str, database_url: str) -> dict[str, str]:
    """Return how to reach the local Supabase, as a client and as the schema's owner."""
    return {
        "SUPABASE_URL": url,
        "SUPABASE_PUBLISHABLE_KEY": keys.publishable_key,
        "SUPABASE_SECRET_KEY": keys.secret_key,
        "DATABASE_URL": database_url,
    }


def exchange(keys: Keys, ports: Ports) -> dict[str, str]:
    """Return how to reach the paper exchange, as a trader and as its operator."""
    url = f"http://{LOOPBACK}:{ports.exchange}"
    return {
        "ALPACA_BASE_URL": url,
        "ALPACA_DATA_URL": url,
        "ALPACA_API_KEY": keys.alpaca_api_key,
        "ALPACA_SECRET_KEY": keys.alpaca_secret_key,
        "EXCHANGE_ADMIN_TOKEN": keys.exchange_admin_token,
    }


def ours(ports: Ports) -> dict[str, str]:
    """Return where the engine and the pages are; the engine, started alone, takes its ports from here."""
    return {
        "ENGINE_API_PORT": str(ports.engine_api),
        "METRICS_PORT": str(ports.metrics),
        "ENGINE_API_URL": f"http://{LOOPBACK}:{ports.engine_api}",
        "METRICS_URL": f"http://{LOOPBACK}:{ports.metrics}",
        "APP_URL": f"http://{LOOPBACK}:{ports.app}",
    }
