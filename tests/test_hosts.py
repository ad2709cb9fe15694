"""Where the token may go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from whisperctl.cli.options import Settings
from whisperctl.endpoint.client import Endpoint
from whisperctl.errors import WhisperctlError
from whisperctl.hosts import INSECURE, host_of, refuse_other_domain, refuse_plain, registrable_domain
from whisperctl.tls import VARIABLES, client_context


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("api.ubiops.com", "ubiops.com"),
        ("ubiops.com", "ubiops.com"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("10.0.0.1", "10.0.0.1"),
        ("ubiops", "ubiops"),
        ("api.example.nl", "example.nl"),
    ],
)
def test_what_was_registered(host: str, domain: str) -> None:
    assert registrable_domain(host) == domain


@pytest.mark.parametrize(
    "url", ["https://api.example.test", "http://127.0.0.1:8787/v2", "http://localhost", "http://[::1]:1"]
)
def test_tls_and_this_machine_are_fine(url: str) -> None:
    refuse_plain(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.test/v2",
        "http://10.0.0.1",
        "http://127.0.0.1.example.test",
        "http://127.1",
    ],
)
def test_plain_http_to_others_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(INSECURE, raising=False)
    with pytest.raises(WhisperctlError, match="in clear text"):
        refuse_plain(url)
    with pytest.raises(WhisperctlError, match="in clear text"):
        Endpoint(url, "token", 1)
    settings = Settings()
    settings.host = url
    with pytest.raises(WhisperctlError, match="--insecure-http"):
        settings.api_host()
    monkeypatch.setenv(INSECURE, "1")
    refuse_plain(url)


@pytest.mark.parametrize(
    ("url", "home"),
    [
        ("https://services.ubiops.com/x", "https://api.ubiops.com/v2"),
        ("http://127.0.0.1:9", "http://localhost:8787"),
        ("https://api.example.test", "https://api.example.test"),
    ],
)
def test_endpoints_of_the_same_domain_get_the_token(url: str, home: str) -> None:
    refuse_other_domain(url, home)


@pytest.mark.parametrize(
    "url",
    [
        "https://ubiops.com.evil.test",
        "https://evil-ubiops.com",
        "http://127.0.0.1",
        "https://1.2.3.4",
    ],
)
def test_others_do_not(url: str) -> None:
    with pytest.raises(WhisperctlError, match="the token is not sent there"):
        Endpoint(url, "token", 1, home="https://api.ubiops.com/v2")
    Endpoint(url, None, 1, home="https://api.ubiops.com/v2").close()


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_ca_file_that_is_not_there_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "/nonexistent/ca.pem")
    with pytest.raises(WhisperctlError, match=f"{name} names the CA file /nonexistent/ca.pem: No such file"):
        client_context()


@pytest.mark.parametrize("name", VARIABLES)
def test_what_is_no_file_holds_no_authorities(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in VARIABLES:
        monkeypatch.delenv(each, raising=False)
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/zero"):
        monkeypatch.setenv(name, path)
        with pytest.raises(WhisperctlError, match=f"{name} names {path}, which is no file"):
            client_context()


@pytest.mark.parametrize(
    "url", ["http://evil.test\\@127.0.0.1/", "http://ev\til.test@127.0.0.1", "http://evil.test @[::1]"]
)
def test_a_host_that_clients_disagree_on_is_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(INSECURE, raising=False)
    assert host_of(url) == ""
    with pytest.raises(WhisperctlError, match="in clear text"):
        refuse_plain(url)
    with pytest.raises(WhisperctlError, match="the token is not sent there"):
        refuse_other_domain(url, "http://127.0.0.1")
