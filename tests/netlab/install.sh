#!/bin/sh
# Installs Debian packages, as root, for the tests alone: no service of them is started, now or at the next boot.
set -eu

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

apt-get update -qq
for package in "$@"; do
  if dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then
    continue
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
  test -d /run/systemd/system || continue
  for unit in $(dpkg -L "$package" | sed -n 's#.*/systemd/system/\([^/@]*\.service\)$#\1#p'); do
    systemctl disable --quiet "$unit"
    if systemctl --quiet is-active "$unit"; then
      echo "$package started its service $unit; stop it, the tests run their own" >&2
      exit 1
    fi
  done
done
