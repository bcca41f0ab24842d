from __future__ import annotations

import pytest

from claude_failover.upstream.wire import proxy_for

URL = "https://api.anthropic.com"


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "proxy:3128", "HTTPS_PROXY": "http://other"}, "http://proxy:3128"),
        ({"ALL_PROXY": "http://proxy"}, "http://proxy"),
        ({"HTTP_PROXY": "http://proxy"}, None),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": "localhost,.anthropic.com"}, None),
        ({"HTTPS_PROXY": "http://proxy", "no_proxy": "anthropic.com"}, None),
        ({"HTTPS_PROXY": "http://proxy", "no_proxy": "*"}, None),
        ({"HTTPS_PROXY": "http://proxy", "no_proxy": "*.anthropic.com"}, None),
        ({"HTTPS_PROXY": "http://proxy", "no_proxy": "ropic.com, api.anthropic.com:8443"}, "http://proxy"),
    ],
)
def test_the_proxy_is_what_the_environment_says(environ: dict[str, str], proxy: str | None) -> None:
    found = proxy_for(URL, environ)
    assert (None if found is None else str(found.url).rstrip("/")) == proxy


def test_this_machine_is_never_reached_through_a_proxy() -> None:
    assert proxy_for("http://127.0.0.1:9", {"ALL_PROXY": "http://proxy"}) is None


def test_a_proxy_s_password_goes_into_its_header_and_not_into_messages() -> None:
    found = proxy_for(URL, {"HTTPS_PROXY": "http://me:p%40ss@proxy:3128"})
    assert found is not None
    assert str(found.url) == "http://proxy:3128"
    assert found.headers == {"Proxy-Authorization": "Basic bWU6cEBzcw=="}  # me:p@ss
    assert "bWU6" not in repr(found)
