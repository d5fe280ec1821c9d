# shellcheck shell=bash
# What pip is told on this machine, as files for a build: sourced by scripts/docker-build.

write_pip_settings() { # DIRECTORY -> pip.conf and ca.pem in it; an empty ca.pem where none is set
  local python settings='' certificates
  for python in python3 python; do
    settings=$("$python" -m pip config list 2>/dev/null) && break
  done
  certificates=$(sed -nE "s/^[^=]*\.cert='(.*)'$/\1/p" <<<"$settings" | tail -n 1)
  certificates=${certificates:-${REQUESTS_CA_BUNDLE:-${SSL_CERT_FILE:-}}}
  : >"$1/ca.pem"
  {
    echo '[global]'
    sed -nE "s/^[^=]*\.(index-url|extra-index-url|trusted-host|proxy|default-timeout|retries)='(.*)'$/\1 = \2/p" \
      <<<"$settings" | drop_folders
    if [ -f "$certificates" ]; then
      cat "$certificates" >"$1/ca.pem"
      echo 'cert = /run/secrets/ca.pem'
    fi
  } >"$1/pip.conf"
}

drop_folders() { # Folders of this machine are not in the build; the hashes hold wherever a file is from.
  sed -E 's#file://[^ ]*##g; /= *$/d'
}
