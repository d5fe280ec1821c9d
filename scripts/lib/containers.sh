# shellcheck shell=bash disable=SC2034
# Container engine, image references and pip's settings: sourced by the scripts/docker-* scripts,
# from the root of the checkout. Everything is said on stderr.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

read_references() { # -> references, the build arguments of docker/images.env
  local line
  references=()
  while read -r line; do
    case $line in '' | '#'*) continue ;; esac
    # A value of the environment stands in for that of the file, as with compose.
    local key=${line%%=*}
    references+=(--build-arg "$key=${!key:-${line#*=}}")
  done <docker/images.env
}
read_references

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
    "install Docker 20.10 or podman 4 or newer and start it, or set CONTAINER_ENGINE" && exit 6
}

write_pip_settings() { # DIRECTORY -> pip.conf and ca.pem in it; empty files where nothing is set
  local python settings='' certificates
  : >"$1/ca.pem"
  for python in python3 python; do
    settings=$("$python" -m pip config list 2>/dev/null) && break
  done
  certificates=$(sed -nE "s/^[^=]*\.cert='(.*)'$/\1/p" <<<"$settings" | tail -n 1)
  certificates=${certificates:-${PIP_CERT:-${REQUESTS_CA_BUNDLE:-${SSL_CERT_FILE:-}}}}
  {
    echo '[global]'
    # Folders of this machine are not in the build; the lock's hashes hold wherever a file is from.
    sed -nE "s/^[^=]*\.(index-url|extra-index-url|trusted-host|proxy|default-timeout|retries)='(.*)'$/\1 = \2/p" \
      <<<"$settings" | grep -v 'file://' || true
    if [ -f "$certificates" ]; then
      cat "$certificates" >"$1/ca.pem"
      echo 'cert = /run/secrets/ca.pem'
    fi
  } >"$1/pip.conf"
}
