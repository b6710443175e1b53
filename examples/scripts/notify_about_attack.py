#!/usr/bin/python3
"""A notify script to start from, in Python: it needs the standard library only.

FastNetMon calls it when an attack starts (ban), when its packets are there
(attack_details) and when it has ended (unban):

    notify_about_attack.py IP DIRECTION PPS ban|attack_details|unban

Standard input holds the report, or with format = "json" in the action's block
the event. What is printed goes to FastNetMon's log. Set MAIL_TO to get mail as
well, by way of the SMTP server MAIL_SERVER (HOST or HOST:PORT, localhost unless
set):

    environment = { MAIL_TO = "noc@example.net" }
"""

import email.message
import json
import os
import smtplib
import sys

SUBJECTS = {
    "ban": "{ip}: {direction} attack of {pps} packets per second",
    "attack_details": "{ip}: packets of the {direction} attack",
    "unban": "{ip}: the {direction} attack is over",
}


def describe(text):
    """The body of a mail: a report as it is, an event in a few lines."""
    if not text.startswith("{"):
        return text
    event = json.loads(text)
    lines = [
        "Attack {id} on {target}, host group {hostgroup}".format(**event),
        "{counter}: {value} {unit}, limit {limit} ({threshold})".format(**event),
        "Label: {} ({:.0%})".format(event["label"] or event["attack_type"], event["label_confidence"] or 0),
    ]
    top = event.get("evidence", {}).get("tops", {}).get("sources", {})
    lines += ["Source {value}: {share:.0%} of all packets".format(**row) for row in top.get("rows", [])[:10]]
    return "\n".join(lines) + "\n"


def main(arguments):
    if len(arguments) != 5 or arguments[4] not in SUBJECTS:
        print("usage: {} IP incoming|outgoing PPS ban|attack_details|unban".format(arguments[0]), file=sys.stderr)
        return 2
    ip, direction, pps, action = arguments[1:]
    subject = SUBJECTS[action].format(ip=ip, direction=direction, pps=pps)
    # Monitor mode sees and tells, but acts on nothing.
    if action == "ban" and os.environ.get("FASTNETMON_WOULD_HAVE") == "true":
        subject += " (monitor mode: nothing was done)"
    body = describe(sys.stdin.read())
    print(subject)
    if os.environ.get("MAIL_TO"):
        mail = email.message.EmailMessage()
        mail["Subject"] = "FastNetMon: " + subject
        mail["From"] = os.environ.get("MAIL_FROM", "fastnetmon@localhost")
        mail["To"] = os.environ["MAIL_TO"]
        mail.set_content(body)
        host, _, port = os.environ.get("MAIL_SERVER", "localhost").partition(":")
        with smtplib.SMTP(host, int(port or 25), timeout=10) as server:
            server.send_message(mail)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
