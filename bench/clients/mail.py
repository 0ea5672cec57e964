"""aiosmtpd as a receiver: FOLDER plain|starttls|tls. Prints its port, then a line of JSON for each mail.

With TLS it makes itself a certificate for localhost (FOLDER/cert.pem) and wants a login.
"""

import asyncio
import datetime
import email
import email.policy
import json
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

folder, way = pathlib.Path(sys.argv[1]), sys.argv[2]


def context():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    certificate = made.sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*form))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return tls


def login(_server, _session, _envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and (data.login, data.password.decode()) == (b"monitor", 'pässword "1"')
    return AuthResult(success=right)


class Handler:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        about = {
            "subject": mail["subject"],
            "to": mail["to"],
            "rcpt": envelope.rcpt_tos,
            "text": mail.get_content(),
            "tls": session.ssl is not None or way == "tls",
            "user": "monitor" if session.authenticated else None,
        }
        print(json.dumps(about), flush=True)
        return "250 taken"


options = {}
if way != "plain":
    options = {"authenticator": login, "auth_required": True, "auth_require_tls": way == "starttls"}
tls = None if way == "plain" else context()


async def serve():
    loop = asyncio.get_running_loop()
    if way == "starttls":
        make = lambda: SMTP(Handler(), tls_context=tls, require_starttls=True, **options)
    else:
        make = lambda: SMTP(Handler(), **options)
    server = await loop.create_server(make, "127.0.0.1", 0, ssl=tls if way == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(serve())
