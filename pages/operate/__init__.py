"""Where people stop and start trading."""
