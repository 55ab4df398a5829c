"""The authority's Python side: clients, typed commands, read queries."""
