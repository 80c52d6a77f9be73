#!/bin/bash
# Written by landsweep: one host of a sweep. `job.sh head|worker HOST` runs until the sweep has ended.
cd @@CWD@@ || exit 1
@@SETUP@@
set -u
HOME_OF_JOB=@@HOME@@
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(<"$HOME_OF_JOB/token") PYTHONUNBUFFERED=1
trap 'kill -TERM $member' TERM
@@PYTHON@@ -m cluster.member "$HOME_OF_JOB/launch.json" "$1" @@MEMBER@@ & member=$!
echo $$ >"$HOME_OF_JOB/$2.pid"
while wait $member; code=$?; kill -0 $member 2>/dev/null; do :; done # a signal ends a wait early
if [[ $1 == head ]]; then echo $code >"$HOME_OF_JOB/exit"; fi
rm -f "$HOME_OF_JOB/$2.pid"
exit $code
