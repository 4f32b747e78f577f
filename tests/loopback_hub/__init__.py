"""A small Hugging Face Hub on 127.0.0.1, for the real clients to push to and to pull from."""

from tests.loopback_hub.server import LoopbackHub

__all__ = ["LoopbackHub"]
