#!/bin/bash
# Written by landsweep: one host of a sweep. `job.sh head|worker HOST` runs until the sweep has ended.
ROLE=$1 JOB=@@HOME PIDS=@@HOME/$2
member='' stopped=''
trap 'stopped=1; [[ -z $member ]] || kill -TERM $member' TERM
end() { # CODE
    if [[ $ROLE == head ]]; then echo "$1" >"$JOB/exit"; fi
    rm -f "$PIDS.pid"
    exit "$1"
}
echo $$ >"$PIDS.pid.new" && mv "$PIDS.pid.new" "$PIDS.pid" # whoever cancels signals this one, or was here before
cd @@CWD || end 1
@@SETUP
set -u
if [[ -n $stopped || -e $JOB/cancelled ]]; then end 3; fi
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(<"$JOB/token") PYTHONUNBUFFERED=1
@@MEMBER "$JOB/launch.json" "$ROLE" @@OPTIONS & member=$!
if [[ -n $stopped ]]; then kill -TERM $member; fi
while wait $member; code=$?; kill -0 $member 2>/dev/null; do :; done # a signal ends a wait early
if [[ $code == 143 && -n $stopped ]]; then code=3; fi # ended before it could listen
end $code
