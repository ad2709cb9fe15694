"""What stands between a program and its host: an authority, a TLS server, an HTTP proxy, a SOCKS5 proxy; in threads."""

from __future__ import annotations

import base64
import datetime as dt
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseServer, StreamRequestHandler, ThreadingTCPServer
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Server = TypeVar("Server", bound=BaseServer)
LOGIN = "someone:pass-of-the-proxy"


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority of one's own, and what it has signed for localhost."""

    file: Path
    folder: Path
    """With OpenSSL's hashed names."""
    server: Path
    """Certificate and key."""
    expired: Path
    another: Path
    """Of a host of another name."""

    @classmethod
    def made(cls, folder: Path) -> Authority:
        key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=Tests of whisperctl")
        root = _certificate(name, name, key.public_key(), ca=True).sign(key, hashes.SHA256())
        file, hashed = folder / "ca.pem", folder / "hashed"
        file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        hashed.mkdir()
        command = ["openssl", "x509", "-hash", "-noout", "-in", str(file)]
        digest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        (hashed / f"{digest}.0").write_bytes(file.read_bytes())
        signed = {}
        for each, host, days in (
            ("server", "localhost", 1),
            ("expired", "localhost", -1),
            ("another", "other.host", 1),
        ):
            own = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name.from_rfc4514_string(f"CN={host}")
            certificate = _certificate(name, subject, own.public_key(), host=host, days=days).sign(key, hashes.SHA256())
            private = own.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            signed[each] = folder / f"{each}.pem"
            signed[each].write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        return cls(file, hashed, signed["server"], signed["expired"], signed["another"])


def _certificate(
    issuer: x509.Name, subject: x509.Name, key: Any, *, host: str = "", ca: bool = False, days: int = 1
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName(host or "authority")]
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )


class Host(ThreadingHTTPServer):
    """Answers `[]` to every GET, as UbiOps' empty list of deployments, and as good as any /health."""

    daemon_threads = True

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Host)
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that trusts nobody goes away in the handshake."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.server_port}"


class _Host(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        _answer(self, 200, b"[]", "application/json")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Silence."""


class Terminator(ThreadingTCPServer):
    """TLS in front of a server of this machine that speaks none."""

    daemon_threads, allow_reuse_address = True, True

    def __init__(self, certificate: Path, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Terminator)
        self.port = port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server_address[1]}"


class _Terminator(StreamRequestHandler):
    server: Terminator

    def handle(self) -> None:
        behind = socket.create_connection(("127.0.0.1", self.server.port))
        with self.server.context.wrap_socket(self.connection, server_side=True) as here, behind as there:
            own, behind_it = (f"localhost:{self.server.server_address[1]}", f"127.0.0.1:{self.server.port}")
            _bridge(here, there, lambda data: data.replace(f"Host: {own}".encode(), f"Host: {behind_it}".encode()))


class Proxy(ThreadingHTTPServer):
    """An HTTP proxy; `login` is wanted where it is given, `refuses` is what it answers in the host's place."""

    daemon_threads = True

    def __init__(self, login: str = "", refuses: int = 0, page: str = "", via: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Proxy)
        self.login, self.refuses, self.page = login, refuses, page
        self.headers = {"Via": via} if via else {}
        self.passed: list[str] = []
        """Host and port of each connection or request that went through."""

    def url(self, login: str = "") -> str:
        return f"http://{login + '@' if login else ''}127.0.0.1:{self.server_port}"


class _Proxy(BaseHTTPRequestHandler):
    server: Proxy

    def do_CONNECT(self) -> None:
        if self._stopped():
            return
        self.server.passed.append(self.path)
        with socket.create_connection((self.path.partition(":")[0], int(self.path.partition(":")[2]))) as there:
            self.send_response(200, "Connection established")
            self.end_headers()
            _bridge(self.connection, there)
        self.close_connection = True

    def do_GET(self) -> None:
        if self._stopped():
            return
        self.server.passed.append(urlsplit(self.path).netloc)
        _answer(self, 200, b"[]", "application/json")

    def _stopped(self) -> bool:
        expected = f"Basic {base64.b64encode(self.server.login.encode()).decode()}"
        if self.server.login and self.headers.get("Proxy-Authorization") != expected:
            _answer(self, 407, b"", "text/plain", **{"Proxy-Authenticate": 'Basic realm="acme"'})
            return True
        if self.server.refuses:
            _answer(self, self.server.refuses, self.server.page.encode(), "text/html", **self.server.headers)
            return True
        return False

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Silence."""


def _answer(handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str, **headers: str) -> None:
    handler.send_response(status)
    for name, value in (*headers.items(), ("Content-Type", kind), ("Content-Length", str(len(body)))):
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


class Socks(ThreadingTCPServer):
    """A SOCKS5 proxy without a login (RFC 1928); with `refuses` it lets nobody through."""

    daemon_threads, allow_reuse_address = True, True

    def __init__(self, refuses: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Socks)
        self.refuses = refuses
        self.passed: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Socks(StreamRequestHandler):
    server: Socks

    def handle(self) -> None:
        methods = self.connection.recv(self.connection.recv(2)[1])
        self.connection.sendall(b"\x05\x00" if 0 in methods else b"\x05\xff")
        if 0 not in methods:  # it wants to log in
            return
        kind = self.connection.recv(4)[3]
        if kind == 3:  # a name, that the proxy resolves
            host = self.connection.recv(self.connection.recv(1)[0]).decode()
        else:
            host = socket.inet_ntop(*{1: (socket.AF_INET, self.connection.recv(4))}.get(kind) or
                                    (socket.AF_INET6, self.connection.recv(16)))  # fmt: skip
        [port] = struct.unpack(">H", self.connection.recv(2))
        tail = b"\x00\x01" + bytes(6)
        if self.server.refuses:
            self.connection.sendall(b"\x05\x02" + tail)  # not allowed by the rules
            return
        self.server.passed.append(f"{host}:{port}")
        with socket.create_connection((host, port)) as there:
            self.connection.sendall(b"\x05\x00" + tail)
            _bridge(self.connection, there)


def _bridge(one: socket.socket, other: socket.socket, rewritten: Callable[[bytes], bytes] = lambda data: data) -> None:
    """Bytes in both directions until one side ends, what `one` sends `rewritten`."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(rewritten(data) if source is one else data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=pump, args=(other, one), daemon=True)
    back.start()
    pump(one, other)
    back.join()


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """A server in a thread of its own."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
