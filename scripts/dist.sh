#!/usr/bin/env bash
# Wheel and sdist of the last commit, built in a clean clone: nothing that git does not track can get into them.
# Checked: a wheel built from the unpacked sdist has the same files, and its command starts in an empty folder.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$PWD/.venv/bin/python
dist=$PWD/dist
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ -z "$(git status --porcelain)" ] || echo "dist: uncommitted changes are left out" >&2
git clone --quiet . "$work/clone"
rm -rf "$dist"
(cd "$work/clone" && "$python" -m hatchling build -d "$dist" >/dev/null)

mkdir "$work/unpacked" "$work/installed" "$work/empty"
tar -xzf "$dist"/*.tar.gz -C "$work/unpacked" --strip-components=1
(cd "$work/unpacked" && "$python" -m hatchling build -t wheel -d "$work/again" >/dev/null)
names() { "$python" -m zipfile --list "$1" | awk 'NR > 1 { print $1 }' | sort; }
if ! diff <(names "$dist"/*.whl) <(names "$work"/again/*.whl); then
  echo "dist: the sdist gives another wheel than the repository" >&2
  exit 1
fi
"$python" -m zipfile --extract "$dist"/*.whl "$work/installed"
(cd "$work/empty" && PYTHONPATH=$work/installed "$python" -P -m runwright validate experiment=vader >/dev/null)
ls -1 "$dist"
