"""The engine: loops around pure decisions. It acts; the database decides."""

__version__ = "0.2.0"
