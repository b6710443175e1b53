#!/bin/sh
# Called as: notify.sh LOG IP DIRECTION PPS ban|attack_details|unban, with the report on stdin.
log=$1
shift
{
	echo "called with: $*"
	head -n 6 | sed 's/^/  /'
} >>"$log"
