"""Certificates that TLS accepts, keys nobody else reads, an authority that lasts."""

from __future__ import annotations

import base64
import datetime as dt
import socket
import ssl
import threading
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from include.sandbox import certificates
from include.sandbox.certificates import Authority, KeyPair, service_account_key, write_kubeconfig


def handshake(server: KeyPair, client: KeyPair | None, authority: KeyPair, host: str) -> str:
    """The common name the server sees."""
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate))
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.load_cert_chain(server.certificate, server.key)
    calling = ssl.create_default_context(cafile=str(authority.certificate))
    if client is not None:
        calling.load_cert_chain(client.certificate, client.key)
    here, there = socket.socketpair()
    seen: list[str] = []

    def serve() -> None:
        try:
            with serving.wrap_socket(there, server_side=True) as connection:
                subject = dict(part[0] for part in connection.getpeercert()["subject"])  # type: ignore[index, misc]
                seen.append(subject["commonName"])
        except ssl.SSLError:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with calling.wrap_socket(here, server_hostname=host) as connection:
            connection.recv(1)
    finally:
        here.close()
        thread.join()
    return seen[0]


def test_clients_and_servers_of_one_authority_trust_each_other(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("server", "kube-apiserver", names=["127.0.0.1", "localhost"])
    client = authority.issue("client", "admin", organization="system:masters")
    assert handshake(server, client, authority.pair, "127.0.0.1") == "admin"
    assert handshake(server, client, authority.pair, "localhost") == "admin"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, authority.pair, "127.0.0.2")


def test_a_stranger_is_refused(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "one"), Authority(tmp_path / "two")
    server = other.issue("server", "kube-apiserver", names=["localhost"])
    client = authority.issue("client", "admin")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, authority.pair, "localhost")


def test_the_group_is_the_organization(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("node", "system:node:node-1", organization="system:nodes")
    subject = x509.load_pem_x509_certificate(pair.certificate.read_bytes()).subject
    assert [one.value for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:nodes"]
    assert [one.value for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["system:node:node-1"]


def test_private_keys_are_their_owners_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    pair = authority.issue("client", "admin")
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", "https://x", authority.pair, pair, "admin")
    account = service_account_key(tmp_path / "pki")
    for path in (authority.pair.key, pair.key, kubeconfig, account):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_authority_and_the_service_account_key_last(tmp_path: Path) -> None:
    authority, key = Authority(tmp_path), service_account_key(tmp_path)
    before = authority.pair.certificate.read_bytes(), key.read_bytes()
    assert (
        Authority(tmp_path).pair.certificate.read_bytes(),
        service_account_key(tmp_path).read_bytes(),
    ) == before


def test_an_authority_about_to_expire_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "VALIDITY", certificates.RENEWAL - dt.timedelta(days=1))
    old = Authority(tmp_path).pair.certificate.read_bytes()
    monkeypatch.undo()
    assert Authority(tmp_path).pair.certificate.read_bytes() != old


def test_the_service_account_key_has_the_form_the_api_server_reads(tmp_path: Path) -> None:
    pem = service_account_key(tmp_path).read_bytes()
    assert pem.startswith(b"-----BEGIN EC PRIVATE KEY-----")
    load_pem_private_key(pem, password=None)


def test_a_kubeconfig_needs_no_other_file(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.issue("client", "admin")
    path = write_kubeconfig(tmp_path / "kubeconfig", "https://127.0.0.1:6443", authority.pair, client, "admin")
    document = yaml.safe_load(path.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    assert cluster["server"] == "https://127.0.0.1:6443"
    assert base64.b64decode(cluster["certificate-authority-data"]) == authority.pair.certificate.read_bytes()
    assert base64.b64decode(user["client-key-data"]) == client.key.read_bytes()
    assert document["current-context"] == document["contexts"][0]["name"]
