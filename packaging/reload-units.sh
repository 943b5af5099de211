#!/bin/sh
# After an installation or a removal systemd reads the units again, where it runs. No service is started or restarted:
# a roll call may be under way, and a worker is replaced when its operator says so.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
