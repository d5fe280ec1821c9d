# shellcheck shell=bash disable=SC2034
# Container engine and image references: sourced by the scripts/docker-* scripts, from the root of the
# checkout. Everything is said on stderr.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

read_references() { # -> references: the build arguments that docker/images.env gives
  local line key
  references=()
  while read -r line; do
    case $line in '' | '#'*) continue ;; esac
    key=${line%%=*}
    # A value of the environment stands in for that of the file, as with compose.
    references+=(--build-arg "$key=${!key:-${line#*=}}")
  done <docker/images.env
}

choose_image() { # -> the image that this host can use
  if compgen -G '/dev/davinci[0-9]*' >/dev/null; then
    echo ascend
  elif [ "$(uname -m)" = x86_64 ]; then echo cpu; else echo harness; fi
}

find_engine() { # -> engine: $CONTAINER_ENGINE, else docker, else podman, whichever answers
  local candidate
  for candidate in ${CONTAINER_ENGINE:-docker podman}; do
    if "$candidate" version >/dev/null 2>&1; then engine=$candidate && return; fi
  done
  say "no container engine answers (tried: ${CONTAINER_ENGINE:-docker podman}):" \
    "install Docker 20.10 or podman 4 or newer and start it, or set CONTAINER_ENGINE"
  exit 6
}

podman_options() { # BUILD-OPTIONS... -> engine_options: what podman's build does not do by itself
  local machine=${*:-}
  case $machine in *arm64* | *aarch64*) ;; *amd64* | *x86_64*) ;; *) machine=$(uname -m) ;; esac
  case $machine in *arm64* | *aarch64*) machine=arm64 ;; *) machine=amd64 ;; esac
  engine_options=(--format docker --build-arg "TARGETARCH=$machine")
}
