"""Clients in this process: the tests' environment says offline, which the library reads once, at its import."""

import pytest
from huggingface_hub import HfApi, constants


@pytest.fixture
def online(monkeypatch):
    """`online(xet)` lets clients of this process out, over Xet or LFS, and makes them not wait before they retry."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)

    def choose(xet: bool) -> None:
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", not xet)

    choose(False)
    return choose


@pytest.fixture
def api(loopback_hub, online):
    return HfApi(endpoint=loopback_hub.endpoint, token=loopback_hub.tokens["ana"])
