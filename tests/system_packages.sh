#!/bin/sh
# Installs the Debian packages that only tests need, where that is possible (root and apt).
# Elsewhere the tests that need them are skipped with the reason shown.
set -eu
packages="chromium libopus0 libnss3-tools iproute2 prometheus mbpoll ser2net onvif-tools ffmpeg fonts-noto-cjk openssl python3-gi gir1.2-gst-rtsp-server-1.0 \
gstreamer1.0-rtsp gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad \
gstreamer1.0-plugins-ugly gstreamer1.0-libav nginx-light gcc libssl-dev"
# Other packages of Node bring npm along, and do not go with Debian's.
command -v npm >/dev/null 2>&1 || packages="$packages nodejs npm"
command -v dpkg-query >/dev/null 2>&1 || exit 0
missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "Tests that need these packages will be skipped; to run them: sudo apt-get install$missing"
  exit 0
fi
echo "Installing what only the tests need:$missing"
apt-get update -q >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing >/dev/null
