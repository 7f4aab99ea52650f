# shellcheck shell=sh
# steps.sh: sourced by demo and check: one line per step with its seconds; the first failure ends the script with one clear line.
#
#   step NAME COMMAND...    output goes to build/log/NAME.log
#   say TEXT                a line under the step before it

steps_log=build/log
mkdir -p "$steps_log"

say() {
    printf '      %s\n' "$1"
}

# stop NAME LOG: the end of the log, then the one line.
stop() {
    tail -n 40 "$2" | cut -c 1-400 >&2
    printf '%s: failed at "%s"; the whole output is in %s\n' "$(basename "$0")" "$1" "$2" >&2
    exit 1
}

step() {
    steps_name=$1
    shift
    steps_file=$steps_log/$(printf '%s' "$steps_name" | tr -c 'A-Za-z0-9\n' '-').log
    steps_start=$(date +%s)
    if [ -t 1 ]; then
        printf '  ... %s' "$steps_name"
    fi
    if "$@" >"$steps_file" 2>&1; then
        if [ -t 1 ]; then
            printf '\r\033[K'
        fi
        printf '%5ds %s\n' "$(($(date +%s) - steps_start))" "$steps_name"
    else
        if [ -t 1 ]; then
            printf '\n'
        fi
        stop "$steps_name" "$steps_file"
    fi
}
