#!/bin/sh
# One night from cron: quiet when there is nothing to tell, so that cron mails only what somebody
# has to read. KI67_ENV names the environment file where it is not /etc/ki67/ki67.env.
set -eu
umask 0077
set -a
# shellcheck source=workflows/ki67.env
. "${KI67_ENV:-/etc/ki67/ki67.env}"
set +a

status=0
nice -n 10 "$KI67_HOME/bin/ki67" run "$KI67_ARCHIVE" --out "$KI67_OUT" --config "$KI67_CONFIG" \
    >>"$KI67_LOG" 2>&1 || status=$?

# 75: stopped in good order, the next night goes on
if [ "$status" -ne 0 ] && [ "$status" -ne 75 ]; then
    echo "ki67 run ended with code $status; the end of $KI67_LOG:"
    tail -n 20 "$KI67_LOG"
fi
exit "$status"
