#!/bin/sh
# run.sh PYTEST JOBS [ARGUMENT...]: all tests, JOBS processes side by side.
#
# Devices, lessons and browsers keep real time, and more of them run here than a small machine has
# cores for. What failed beside others is therefore tried once more, alone, and both are told: what
# fails alone is a defect. Many failures at once are no matter of time.
set -u
pytest=$1 jobs=$2
shift 2
again_max=12
told=.pytest_cache/v/cache/lastfailed
rm -f "$told"
"$pytest" -n "$jobs" "$@"
code=$?
[ "$code" -eq 1 ] || exit "$code"
failed=$(grep -c '::' "$told")
[ "$failed" -le "$again_max" ] || exit 1
printf '\nFailed beside others, and tried once more alone: %s of the tests.\n\n' "$failed"
exec "$pytest" -n 0 --last-failed
