#!/bin/sh
# Makes .venv true: `tools/venv.sh runtime` for what the service needs, `tools/venv.sh dev` for the tools too.
#
# Does nothing when all is as it should be. Installs again when a lock file or pyproject.toml has changed, and
# starts afresh when the folder was copied or moved (a venv holds absolute paths) or PYTHON names another one.
# Two at once are safe: the second waits for the first.
set -eu

want=${1:?usage: tools/venv.sh runtime|dev}
cd "$(dirname "$0")/.."
root=$(pwd -P)
venv=$root/.venv
python=${PYTHON:-python3}

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }
sum_of() { cat "$@" | cksum; }
stamped() { [ -f "$venv/.stamp-$1" ] && [ "$(cat "$venv/.stamp-$1")" = "$2" ]; }
stamp() { printf '%s\n' "$2" >"$venv/.stamp-$1"; }
install() { "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input "$@"; }

command -v "$python" >/dev/null 2>&1 ||
  die "no '$python' found; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"
# Of the interpreter below any venv that is active now, so that .venv can be made again from inside itself.
facts=$("$python" -c 'import sys
print("%d.%d.%d" % sys.version_info[:3], sys.base_prefix, getattr(sys, "_base_executable", sys.executable), sep="\n")
sys.exit(sys.version_info < (3, 11))') || {
  set -- $facts
  die "'$python' is Python ${1:-of unknown version}; slakeeper needs 3.11 or newer: make PYTHON=/path/to/python3.11"
}
version=$(printf '%s\n' "$facts" | sed -n 1p)
base_prefix=$(printf '%s\n' "$facts" | sed -n 2p)
base_python=$(printf '%s\n' "$facts" | sed -n 3p)

if command -v flock >/dev/null 2>&1; then
  exec 9>"$root/.venv.lock"
  flock -n 9 || { say "waiting for another set-up to finish"; flock 9; }
fi

# Whatever `python3` means today, a .venv that works is kept: a service may be running from it.
base="$version of $base_prefix"
afresh=""
if [ -e "$venv" ]; then
  if ! stamped home "$root"; then
    afresh="the folder was copied or moved, or a set-up was broken off"
  elif ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    afresh="its Python is gone"
  elif [ "$python" != python3 ] && ! stamped python "$base"; then
    afresh="another Python is asked for"
  fi
fi
if [ -n "$afresh" ]; then
  say "starting .venv afresh: $afresh"
  rm -rf "$venv"
fi
if [ ! -e "$venv" ]; then
  say "making .venv with Python $version"
  "$base_python" -m venv "$venv" || {
    rm -rf "$venv"
    die "'$base_python -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv"
  }
  stamp python "$base"
  stamp home "$root"
fi

build_sum=$(sum_of requirements-build.lock)
if ! stamped build "$build_sum"; then
  say "installing the build tools"
  install --require-hashes -r requirements-build.lock
  stamp build "$build_sum"
fi

# thespian comes as source only: built with the locked tools above, not with whatever is newest today.
runtime_sum=$(sum_of requirements.lock)
if ! stamped runtime "$runtime_sum"; then
  say "installing the locked dependencies"
  install --require-hashes --no-build-isolation -r requirements.lock
  stamp runtime "$runtime_sum"
fi

if [ "$want" = dev ]; then
  dev_sum=$(sum_of requirements-dev.lock)
  if ! stamped dev "$dev_sum"; then
    say "installing the locked development tools"
    install --require-hashes --no-build-isolation -r requirements-dev.lock
    stamp dev "$dev_sum"
  fi
fi

project_sum=$(sum_of pyproject.toml)
if ! stamped project "$project_sum"; then
  say "installing slakeeper (editable)"
  install --no-deps --no-build-isolation --editable .
  stamp project "$project_sum"
fi
