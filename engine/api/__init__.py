"""The control API. It acts with the caller's own token, so that the database decides here too."""

from engine.api.app import build_api
from engine.api.server import listen, serve, serving

__all__ = ["build_api", "listen", "serve", "serving"]
