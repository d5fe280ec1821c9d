# shellcheck shell=bash disable=SC2034,SC2154
# Is the environment what it should be? Sourced by scripts/prepare, which sets $root, $venv, $lock and
# $chosen. A stamp holds the very content that it vouches for, so no interpreter starts to compare it.
# Everything is said on stderr; stdout belongs to the command that is run afterwards.

say() { printf 'prepare: %s\n' "$*" >&2; }
fail() { say "$*" && exit 6; }

pins() { echo "$root" && cat "$root/scripts/lock/bootstrap.txt" "$root/scripts/lock/$lock"; }
metadata() { cat "$root/pyproject.toml" "$root/bench/__init__.py"; }

has_pins() {
  [ -x "$venv/bin/python" ] && pins 2>/dev/null | cmp -s - "$venv/.pins" 2>/dev/null &&
    { [ -z "$chosen" ] || [ "$chosen" = "$(<"$venv/.python")" ]; }
}
has_project() { metadata 2>/dev/null | cmp -s - "$venv/.project" 2>/dev/null; }
