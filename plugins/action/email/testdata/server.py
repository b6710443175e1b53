"""An SMTP server for tests, of Debian's aiosmtpd.

    server.py DIR none|starttls|tls PORT

It prints a line, then one of JSON for each mail. DIR holds cert.pem and
key.pem. While DIR/busy exists it takes no mail (451); recipients that begin with
"refused" it never takes (550). The login is noc, s3cret.
"""

import hashlib
import hmac
import json
import os
import ssl
import sys
import time
import warnings

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

warnings.simplefilter("ignore")
directory, security, port = sys.argv[1:]
context = None
if security != "none":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem"))


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if os.path.exists(os.path.join(directory, "busy")):
            return "451 try again later"
        print(json.dumps({
            "from": envelope.mail_from, "to": envelope.rcpt_tos, "data": envelope.content.decode(), "tls": session.ssl is not None or security == "tls",
            "login": getattr(session, "login", ""), "helo": session.host_name,
        }), flush=True)
        return "250 OK"

    async def auth_CRAM__MD5(self, server, args):
        challenge = b"<1896.697170952@server>"
        answer = await server.challenge_auth(challenge)
        name, _, digest = answer.decode().partition(" ")
        if digest != hmac.new(b"s3cret", challenge, hashlib.md5).hexdigest():
            return AuthResult(success=False)
        server.session.login = "CRAM-MD5 " + name
        return AuthResult(success=True, handled=False)


def authenticate(server, session, envelope, mechanism, data):
    if mechanism in ("PLAIN", "LOGIN") and (data.login, data.password) == (b"noc", b"s3cret"):
        session.login = mechanism + " noc"
        return AuthResult(success=True)
    return AuthResult(success=False, handled=False)


class Server(Controller):
    def factory(self):
        return SMTP(
            self.handler, authenticator=authenticate, auth_require_tls=False, tls_context=context if security == "starttls" else None,
            require_starttls=security == "starttls", auth_exclude_mechanism=[], hostname="server.example.net", enable_SMTPUTF8=True,
        )


server = Server(Handler(), hostname="127.0.0.1", port=int(port), ssl_context=context if security == "tls" else None)
server.start()
print("up", flush=True)
while True:
    time.sleep(60)
