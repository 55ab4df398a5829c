"""Helpers for working on Interlock; nothing here runs in production."""
