#!/bin/sh
# nvcc_log.sh LOG NVCC...: runs nvcc; what ptxas says of registers goes to LOG (tools/cuda_registers.py), all else is shown.
log=$1
shift
"$@" 2>"$log"
status=$?
if [ "$status" -ne 0 ]; then
    cat "$log" >&2
else
    grep -Ev '^ptxas info|bytes stack frame|^$' "$log" >&2
fi
exit "$status"
