"""Signals that never reached the gate."""

from supabase import Client

from db.commands._call import Payload, call


def record_signals(client: Client, *, shard: str, token: int, signals: Payload) -> int:
    """Keep signals that a layer has blocked; return how many were new."""
    return int(call(client, "record_signals", p_shard=shard, p_token=token, p_signals=list(signals)))
