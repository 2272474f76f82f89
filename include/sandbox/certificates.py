"""Keys, certificates and kubeconfigs of the sandbox's control plane.

One authority per state folder; everybody else's certificate is issued anew at each start. Private keys are
readable by their owner alone.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALIDITY = dt.timedelta(days=365)
RENEWAL = dt.timedelta(days=60)  # an authority with less than this left is replaced at the next start
CLOCK_SKEW = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization is not None:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


class Authority:
    """The certificate authority of one sandbox, kept in `folder` from start to start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.pair = KeyPair(folder / "ca.crt", folder / "ca.key")
        if not self._usable():
            self._create()
        self._certificate = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())
        key = serialization.load_pem_private_key(self.pair.key.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    def _usable(self) -> bool:
        if not (self.pair.certificate.exists() and self.pair.key.exists()):
            return False
        certificate = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())
        return certificate.not_valid_after_utc > dt.datetime.now(dt.UTC) + RENEWAL

    def _create(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("stellwerk sandbox")
        certificate = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write_private(self.pair.key, _key_pem(key))
        self.pair.certificate.write_bytes(_certificate_pem(certificate))

    def issue(
        self, file_name: str, common_name: str, *, organization: str | None = None, names: Sequence[str] = ()
    ) -> KeyPair:
        """A new certificate for client and server use, written as `<file_name>.crt` and `.key`.

        :param common_name: the user name Kubernetes sees
        :param organization: the group Kubernetes sees
        :param names: addresses and host names it may serve at
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name(common_name, organization), self._certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if names:
            alternatives = x509.SubjectAlternativeName([_alternative_name(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        pair = KeyPair(self.folder / f"{file_name}.crt", self.folder / f"{file_name}.key")
        _write_private(pair.key, _key_pem(key))
        pair.certificate.write_bytes(_certificate_pem(builder.sign(self._key, hashes.SHA256())))
        return pair


def service_account_key(folder: Path) -> Path:
    """The key that signs service-account tokens; kept, so that tokens outlive a restart."""
    path = folder / "service-account.key"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The API server reads an elliptic-curve key in SEC 1 only.
        sec1 = serialization.PrivateFormat.TraditionalOpenSSL
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(serialization.Encoding.PEM, sec1, serialization.NoEncryption())
        _write_private(path, pem)
    return path


def write_kubeconfig(path: Path, server: str, authority: KeyPair, client: KeyPair, user: str) -> Path:
    """A kubeconfig that needs no other file.

    :param server: URL of the API server
    """

    def inline(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    credentials = {"client-certificate-data": inline(client.certificate), "client-key-data": inline(client.key)}
    cluster = {"server": server, "certificate-authority-data": inline(authority.certificate)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sandbox", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": user}}],
        "current-context": "sandbox",
    }
    _write_private(path, yaml.safe_dump(document).encode())
    return path
