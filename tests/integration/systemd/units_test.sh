#!/usr/bin/env bash
# The units as systemd sees them: they verify clean, their exposure is at most
# 2.0, the account and the folders are made.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
units=$(cd "$here/../../../deploy/systemd" && pwd)
command -v systemd-analyze >/dev/null || { echo "SKIPPED: no systemd-analyze"; exit 77; }

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{usr/bin,usr/lib/systemd,etc/systemd/system,etc/caffe-ssp,var/lib}
cp -r /usr/lib/systemd/system "$root/usr/lib/systemd/"
install -m 755 "${CSSP_BUILD_DIR:?}/bin/ps-server" "$root/usr/bin/ps-server"
cp "$units"/*.service "$units"/*.target "$root/etc/systemd/system/"

fail() { echo "FAILED: $*" >&2; exit 1; }

said=$(systemd-analyze verify --root="$root" --man=no ps-server@0.service ps-server.target 2>&1) ||
  fail "systemd-analyze verify: $said"
[ -z "$said" ] || fail "systemd-analyze verify says: $said"
systemd-analyze security --offline=yes --root="$root" --threshold=20 \
  ps-server@0.service >"$root/security" 2>&1 ||
  fail "exposure: $(tail -n 1 "$root/security")"
tail -n 1 "$root/security"

# What the daemon's UCX needs must not be taken away by a later tightening.
for line in 'RestrictAddressFamilies=.*AF_NETLINK' 'UCX_MEM_MMAP_HOOK_MODE=reloc' \
  'Type=notify' 'WatchdogSec=' 'LimitMEMLOCK=infinity'; do
  grep -q "$line" "$units/ps-server@.service" || fail "the unit lacks $line"
done
for banned in '^ProtectProc=' '^ProcSubset=' '^PrivateUsers=yes' '^DynamicUser=yes' '^PrivateDevices=yes'; do
  ! grep -q "$banned" "$units/ps-server@.service" || fail "the unit has $banned, which breaks UCX"
done

mkdir -p "$root/usr/lib/sysusers.d" "$root/usr/lib/tmpfiles.d"
cp "$units/caffe-ssp.sysusers" "$root/usr/lib/sysusers.d/caffe-ssp.conf"
cp "$units/caffe-ssp.tmpfiles" "$root/usr/lib/tmpfiles.d/caffe-ssp.conf"
systemd-sysusers --root="$root" >/dev/null 2>&1 || fail "systemd-sysusers"
grep -q '^caffe-ssp:' "$root/etc/passwd" || fail "no account caffe-ssp"
systemd-tmpfiles --root="$root" --create caffe-ssp.conf >/dev/null 2>&1 || fail "systemd-tmpfiles"
[ "$(stat -c %a "$root/var/lib/caffe-ssp")" = 750 ] || fail "mode of /var/lib/caffe-ssp"
echo "units: verified"
