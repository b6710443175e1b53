#!/bin/sh
# A notify script to start from. FastNetMon calls it when an attack starts (ban),
# when its packets are there (attack_details) and when it has ended (unban):
#
#   notify_about_attack.sh IP DIRECTION PPS ban|attack_details|unban
#
# On ban and attack_details the report is on standard input. What is printed goes
# to FastNetMon's log. Set MAIL_TO in the action's block to get mail as well:
#
#   environment = { MAIL_TO = "noc@example.net" }
set -eu

if [ $# -ne 4 ]; then
	echo "usage: $0 IP incoming|outgoing PPS ban|attack_details|unban" >&2
	exit 2
fi
ip=$1 direction=$2 pps=$3 action=$4

case $action in
ban) subject="$ip: $direction attack of $pps packets per second" ;;
attack_details) subject="$ip: packets of the $direction attack" ;;
unban) subject="$ip: the $direction attack is over" ;;
*)
	echo "unknown action: $action" >&2
	exit 2
	;;
esac

# Monitor mode sees and tells, but acts on nothing.
if [ "$action" = ban ] && [ "${FASTNETMON_WOULD_HAVE:-false}" = true ]; then
	subject="$subject (monitor mode: nothing was done)"
fi

report=$(cat) # empty on unban
echo "$subject"
if [ -n "${MAIL_TO:-}" ]; then
	printf '%s\n' "$report" | mail -s "FastNetMon: $subject" "$MAIL_TO"
fi
