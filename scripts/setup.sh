#!/usr/bin/env bash
# Makes .venv beside this project and installs exactly what constraints.txt lists; does nothing where that is done.
# PYTHON=... names the interpreter; without it the first one found that is new enough is taken.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.setup-done # written last: what was installed
log=$venv/setup.log

# Of the content, not the time: switching branches back and forth installs nothing.
wanted=$(cat pyproject.toml constraints.txt scripts/setup.sh | cksum)

version_of() { "$1" -c 'import sys; print(sys.version)' 2>/dev/null; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
makes_venvs() { "$1" -c 'import venv, ensurepip' >/dev/null 2>&1; }
made_here() { grep -qsF "$(pwd -P)/$venv" "$venv/bin/activate"; } # its scripts do not survive being moved
usable() {
  made_here && new_enough "$venv/bin/python" &&
    { [ -z "${PYTHON:-}" ] || [ "$(version_of "$venv/bin/python")" = "$(version_of "$PYTHON")" ]; }
}

if usable && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
  exit 0
fi

find_python() {
  local candidate without_venv=""
  # 3.11 first: it is what constraints.txt was tested with.
  for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3.13 python3.14 python3 python; do
    if new_enough "$candidate"; then
      if makes_venvs "$candidate"; then
        echo "$candidate"
        return
      fi
      without_venv=$candidate
    fi
    [ -z "${PYTHON:-}" ] || break # asked for by name: no other will do
  done
  if [ -n "$without_venv" ]; then
    echo "setup: $without_venv cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2
  elif [ -n "${PYTHON:-}" ]; then
    echo "setup: PYTHON=$PYTHON is not a Python 3.11 or newer" >&2
  else
    local found
    found=$(python3 --version 2>/dev/null || echo "no Python at all")
    echo "setup: Runwright needs Python 3.11 or newer; found $found." >&2
    echo "       Install one, or name one: make setup PYTHON=/path/to/python3.11" >&2
  fi
  exit 1
}

# pip's own lines are too many and -q says nothing for minutes: the log gets all of them, the terminal a few.
show_progress() {
  awk '/^Collecting/ { n++; if (n % 25 == 0) print "      " n " packages found" }
       /^Installing collected/ { print "      unpacking" }
       /^ERROR/ { print "      " $0 }
       { fflush() }'
}

install() {
  if ! "$venv/bin/python" -m pip install --progress-bar off "$@" 2>&1 | tee -a "$log" | show_progress; then
    echo "setup: pip failed; its last lines (all of them: $log):" >&2
    tail -n 15 "$log" >&2
    exit 1
  fi
}

# A relative name, because pip splits these at spaces; the second is for the tools that build packages.
export PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_USER=0

if usable; then # the pins changed, or an earlier set-up was interrupted: pip brings what is missing
  echo "setup 1/3: keeping .venv with $("$venv/bin/python" --version)"
  rm -f "$stamp"
else
  python=$(find_python)
  echo "setup 1/3: new .venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
fi
: >"$log"

echo "setup 2/3: PyTorch (about 200 MB; several GB where pip finds only a CUDA build)"
install "$(grep '^torch==' constraints.txt)"
echo "setup 3/3: Runwright and what it needs (about $(grep -c '^[a-zA-Z]' constraints.txt) packages)"
install -e '.[dev]'
echo "$wanted" >"$stamp"
echo "setup: done; .venv/bin/runwright --help"
