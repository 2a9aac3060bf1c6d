#!/bin/sh
# The tests in three parts, each on two workers: fast ones, slow ones, those of whole systems.
# A later part runs even when an earlier one failed. Arguments go to pytest: tools/test.sh -k journal
set -u
cd "$(dirname "$0")/.." || exit 1
failed=""
ran=""

part() {
  name=$1
  marks=$2
  shift 2
  printf 'test: %s\n' "$name"
  .venv/bin/python -m pytest -q -m "$marks" "$@"
  status=$?
  case $status in
    0) ran=yes ;;
    5) printf 'test: %s: no tests here\n' "$name" ;;
    *) ran=yes failed="$failed $name" ;;
  esac
  [ "$status" -ne 2 ] && [ "$status" -lt 128 ] || exit "$status" # interrupted
}

part fast "not slow and not system" -n 2 "$@"
part slow "slow and not system" -n 2 --dist worksteal "$@"
part system "system" -n 2 --dist worksteal "$@"

[ -n "$ran" ] || { echo "test: no tests were run" >&2; exit 5; }
[ -z "$failed" ] || { printf 'test: failed:%s\n' "$failed" >&2; exit 1; }
echo "test: all parts passed"
