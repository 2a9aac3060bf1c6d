#!/bin/sh
# The servers that some tests talk to, installed where that is possible: as root on Debian or Ubuntu. Quiet, and over
# within five minutes whatever the mirror does. Nothing of it is started. Without them those tests fail in CI.
set -u

missing=""
for name in prometheus; do
  command -v "$name" >/dev/null 2>&1 || missing="$missing $name"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  printf 'servers: not there, and not installed without root and apt:%s\n' "$missing" >&2
  exit 0
fi
printf 'servers: installing%s\n' "$missing"
# RUNLEVEL=1 keeps the packages from starting their services.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{
  timeout 120 apt-get -qq update
  # shellcheck disable=SC2086 # several names
  timeout 180 apt-get -qq install --yes --no-install-recommends $missing
} </dev/null >"$log" 2>&1 || { tail -5 "$log" >&2; printf 'servers: could not install%s\n' "$missing" >&2; }
