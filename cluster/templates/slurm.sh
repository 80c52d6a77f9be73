#!/bin/bash
# Written by landsweep: one Slurm job that serves a whole sweep. Its rows are its only state, so it may be requeued at will.
@@DIRECTIVES

@@SETUP
set -u
LAUNCH=@@LAUNCH
STOP=@@STOP
EXIT=@@EXIT
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}
export PYTHONUNBUFFERED=1 SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
member() { # ROLE SRUN-OPTION...: one per node
    local role=$1; shift
    exec srun --ntasks-per-node=1 --kill-on-bad-exit=0 "$@" \
        @@MEMBER "$LAUNCH" "$role" --stop-file="$STOP" @@OPTIONS
}

rm -f "$STOP"@@RESET
trap 'touch "$STOP"' USR1 # some time before the limit: the driver writes what it has and ends with 3
echo "job $SLURM_JOB_ID, start ${SLURM_RESTART_COUNT:-0}, on $SLURM_JOB_NODELIST"
@@START
while wait $lead; code=$?; kill -0 $lead 2>/dev/null; do :; done # a signal ends a wait early
for _ in {1..30}; do kill -0 ${rest:-none} 2>/dev/null || break; sleep 1; done # workers hear of the end, and leave
if [[ -n ${rest:-} ]]; then kill -TERM $rest 2>/dev/null; fi

if [[ $code == 3 && -e $STOP ]]; then
    rm -f "$STOP"
@@REQUEUE
@@ENDED
fi
if [[ $code != 3 ]]; then echo $code >"$EXIT"; fi # a job that was stopped may yet be queued again, by Slurm or here
exit $code
