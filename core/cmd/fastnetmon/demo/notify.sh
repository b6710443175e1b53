#!/bin/sh
# Called as: notify.sh LOG IP DIRECTION PPS ban|unban, with the report on stdin.
log=$1
shift
{
	echo "called with: $*"
	head -n 6 | sed 's/^/  /'
} >>"$log"
