#!/bin/sh
# Every check, each named; goes on after a failure and fails at the end.
set -u
cd "$(dirname "$0")/.." || exit 1
bin=.venv/bin
failed=""
log=$(mktemp)
trap 'rm -f "$log"' EXIT

check() {
  name=$1
  shift
  if "$@" >"$log" 2>&1; then
    printf 'lint: %-12s ok\n' "$name"
  else
    cat "$log"
    printf 'lint: %-12s FAILED (%s)\n' "$name" "$*"
    failed="$failed $name"
  fi
}

bench=""
[ ! -d bench ] || bench=bench

check ruff $bin/ruff check .
check format $bin/ruff format --check .
check mypy $bin/mypy slakeeper run.py tests tools $bench
check imports env COLUMNS=200 $bin/lint-imports
check codespell $bin/codespell

[ -z "$failed" ] || { printf 'lint: failed:%s\n' "$failed" >&2; exit 1; }
