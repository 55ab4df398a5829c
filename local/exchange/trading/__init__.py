"""The trading side: orders, matching, the account and its durable ledger."""
