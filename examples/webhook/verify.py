#!/usr/bin/python3
"""A receiver of FastNetMon's webhooks to start from; standard library only.

    SECRET=... verify.py PORT

It checks the signature, answers a copy of an event like the event itself, and
prints one line for each.
"""

import hashlib
import hmac
import http.server
import json
import os
import sys
import time

SECRET = os.environ["SECRET"].encode()
TOLERANCE = 300  # seconds that the clocks may differ, and that a request may be old
seen = set()


def genuine(header, body, now):
    """Whether FastNetMon-Signature (t=SECONDS,v1=HEX) fits the body."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    if not parts.get("t", "").isdigit() or abs(now - int(parts["t"])) > TOLERANCE:
        return False
    expected = hmac.new(SECRET, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts.get("v1", ""))


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not genuine(self.headers.get("FastNetMon-Signature", ""), body, time.time()):
            self.send_error(403)
            return
        key = self.headers.get("Idempotency-Key")
        if key not in seen:
            seen.add(key)
            event = json.loads(body)
            print(event["event"], event["target"], event["id"], flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print("listening on", server.server_address[1], flush=True)
    server.serve_forever()
