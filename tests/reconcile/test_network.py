"""TLS and proxies as companies have them, for both planes: what works, and that each fault is told for what it is."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import truststore

from tests.harness.network import LOGIN, Authority, Host, Proxy, Socks, Terminator, serving
from tests.harness.project import Project, QuickClock
from whisperctl.control.api import Api
from whisperctl.endpoint.client import Endpoint
from whisperctl.errors import WhisperctlError
from whisperctl.tls import client_context

TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR")
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
PASSWORD = LOGIN.partition(":")[2]
DOWN = "127.0.0.1:9"


def control(url: str) -> None:
    api = Api(f"{url}/v2", "demo", "t" * 40, timeout=5, clock=QuickClock())
    with closing(api.rest.session):
        assert api.deployments() == []


def endpoint(url: str) -> None:
    with Endpoint(url, "t" * 40, 5) as there:
        assert there.get("/health").status == 200


Plane = Callable[[str], None]
both = pytest.mark.parametrize("plane", [control, endpoint])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def host(authority: Authority) -> Iterator[Host]:
    with serving(Host(authority.server)) as server:
        yield server


@pytest.fixture(scope="module")
def plain() -> Iterator[Host]:
    with serving(Host()) as server:
        yield server


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's environment."""
    for name in (*TRUST, *PROXIES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def fault(plane: Plane, url: str) -> str:
    """Why the host is not reached; the message holds no password and leads to the page about it."""
    with pytest.raises(WhisperctlError) as caught:
        plane(url)
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


@both
@pytest.mark.parametrize("variable", TRUST)
def test_authorities_of_ones_own(
    plane: Plane, variable: str, host: Host, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(authority.folder if variable == "SSL_CERT_DIR" else authority.file))
    plane(host.url)


def test_without_a_variable_the_operating_systems_count() -> None:
    assert isinstance(client_context(), truststore.SSLContext)


@both
def test_the_first_variable_takes_the_place_of_the_others(
    plane: Plane, host: Host, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests by itself would add what REQUESTS_CA_BUNDLE names."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.another))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    assert f"is not trusted by SSL_CERT_FILE ({authority.another})" in fault(plane, host.url)


@both
@pytest.mark.parametrize(
    ("certificate", "message"),
    [
        ("server", "its certificate is not trusted by this machine: unable to get local issuer certificate."),
        ("expired", ": certificate has expired."),
        ("another", "its certificate is another host's."),
    ],
)
def test_what_is_wrong_with_a_certificate(
    plane: Plane, certificate: str, message: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    if certificate != "server":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with serving(Host(getattr(authority, certificate))) as there:
        said = fault(plane, there.url)
    assert message in said
    assert "docs/network.md" in said


@both
@pytest.mark.parametrize("variable", TRUST[:3])
def test_a_file_of_authorities_that_is_none(
    plane: Plane, variable: str, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ca.pem"
    monkeypatch.setenv(variable, str(file))
    assert f"{variable} names the CA file {file}: No such file or directory." in fault(plane, host.url)
    file.write_text("rubbish")
    assert f"{variable} names {file}, which holds no certificate." in fault(plane, host.url)


@both
def test_a_host_that_speaks_no_tls(plane: Plane, plain: Host) -> None:
    assert "it does not speak TLS" in fault(plane, plain.url.replace("http:", "https:"))


@both
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_proxy_that_wants_a_login(
    plane: Plane, scheme: str, host: Host, plain: Host, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, variable = (host.url, "HTTPS_PROXY") if scheme == "https" else (plain.url, "HTTP_PROXY")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with serving(Proxy(login=LOGIN)) as proxy:
        for login in ("", f"someone:not-{PASSWORD}"):
            monkeypatch.setenv(variable, proxy.url(login))
            said = fault(plane, url)
            assert "the proxy wants a login (407): write http://USER:PASSWORD@HOST:PORT into" in said
            assert "docs/network.md" in said
        assert proxy.passed == []
        monkeypatch.setenv(variable, proxy.url(LOGIN))
        plane(url)
        assert set(proxy.passed) == {urlsplit(url).netloc}
        monkeypatch.setenv("NO_PROXY", "localhost")
        monkeypatch.setenv(variable, f"http://{DOWN}")
        plane(url)


@both
def test_a_proxy_that_lets_nobody_through(
    plane: Plane, host: Host, plain: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Proxy(refuses=403, page="<html><title>Blocked by ACME</title></html>")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url())
        assert "the proxy refuses the connection (403)." in fault(plane, host.url)


@pytest.mark.parametrize(
    ("status", "page", "who"),
    [
        (502, "<html><title>Bad Gateway</title></html>", "The proxy at 127.0.0.1:{port}, or UbiOps behind it,"),
        (404, "no such host", "The proxy at 127.0.0.1:{port}, or UbiOps behind it,"),
        (502, '{"error": "The instance broke"}', "UbiOps"),
    ],
)
def test_who_answered_is_not_claimed_where_a_proxy_may_have(
    status: int, page: str, who: str, plain: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Proxy(refuses=status, page=page)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url(LOGIN))
        said = fault(control, plain.url)
        assert said.startswith(f"{who.format(port=proxy.server_port)} answered {status} to GET ")
        assert ("docs/network.md" in said) == (who != "UbiOps")


def test_a_proxy_that_nobody_named_gives_itself_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks to it like the host is the proxy: transparent ones need no variable."""
    with serving(Proxy(refuses=503, page="busy", via="1.1 squid")) as proxy:
        said = fault(control, proxy.url())
    assert said.startswith("A proxy on the way (Via: 1.1 squid), or UbiOps behind it, answered 503 to GET ")


def test_a_filters_page_is_not_taken_for_ubiops(plain: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Proxy(refuses=403, page="<html><title>Blocked by ACME</title></html>")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        said = fault(control, plain.url)
        assert "Blocked by ACME" in said
        assert "so it may be the proxy's own" in said
        with Endpoint(plain.url, None, 5) as there:
            assert str(there.get("/health")) == "403 (a web page: Blocked by ACME)"


@both
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("address", "message"),
    [
        (f"http://{LOGIN}@{DOWN}", "the proxy named by HTTPS_PROXY, HTTP_PROXY or ALL_PROXY does not answer."),
        (f"socks5://{LOGIN}@{DOWN}", "does not answer"),
        (f"http://{LOGIN}@:x", "proxy"),
    ],
)
def test_a_proxy_that_is_not_there(
    plane: Plane, variable: str, address: str, message: str, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, address)
    said = fault(plane, host.url)
    assert message in said.lower() if message == "proxy" else message in said
    assert "docs/network.md" in said


@both
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy(
    plane: Plane, scheme: str, host: Host, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with serving(Socks()) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{proxy.port}")
        plane(host.url)
        assert {passed.partition(":")[2] for passed in proxy.passed} == {str(host.server_port)}


@both
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_socks_proxy_that_lets_nobody_through(plane: Plane, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """httpcore leaves the socket of a refused SOCKS connection to the garbage collector, which warns of it."""
    with serving(Socks(refuses=True)) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{proxy.port}")
        said = fault(plane, host.url)
    assert "proxy" in said
    assert "refuses the connection" in said
    gc.collect()


def test_a_stack_is_applied_over_tls(project: Project, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call of an apply, uploads included, through a front that speaks TLS."""
    port = urlsplit(project.emulator.host).port
    assert port is not None
    with serving(Terminator(authority.server, port)) as front:
        there: dict[str, Any] = {"UBIOPS_API_HOST": f"{front.url}/v2", "SSL_CERT_FILE": str(authority.file)}
        ran = project.cli("apply", "--yes", str(project.write()), **there)
        assert ran.code == 0, ran.err
        assert "No changes: " in project.cli("plan", str(project.folder / "stack.yaml"), **there).out


def test_a_netrc_does_not_replace_the_token(project: Project, tmp_path: Path) -> None:
    file = project.write()
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (tmp_path / ".netrc").chmod(0o600)
    ran = project.cli("plan", str(file), HOME=str(tmp_path))
    assert ran.code == 0, ran.err


def test_a_login_in_the_address_does_not_replace_the_token(project: Project) -> None:
    there = project.emulator.host.replace("://", "://somebody:else@")
    ran = project.cli("plan", str(project.write()), UBIOPS_API_HOST=there)
    assert ran.code == 0, ran.err
    assert "somebody" not in ran.out + ran.err
