#!/usr/bin/env bash
# Installs the browsers of the browser tests: Chromium, Firefox ESR, WebKitGTK's WebDriver, and the display that it needs.
# On Debian and Ubuntu as root, or with a sudo that asks for no password; elsewhere it says what to install.
# Usage: infra/dev/browsers.sh VENV FOLDER: Playwright of VENV downloads Chromium where there is no package of it; FOLDER
# gets links to the programs that the tests start.
set -euo pipefail
venv=$1 folder=$2
mkdir -p "$folder"

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Debian has Firefox ESR and a Chromium that is a program; Ubuntu's packages of both are snaps, and its runners have Firefox.
declare -A packages=([WebKitWebDriver]=webkit2gtk-driver [Xvfb]=xvfb)
if grep -qx ID=debian /etc/os-release; then
  packages+=([chromium]=chromium [firefox-esr]=firefox-esr)
fi
missing=()
for program in "${!packages[@]}"; do
  command -v "$program" > /dev/null || missing+=("${packages[$program]}")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "Installing ${missing[*]} for the browser tests ..."
  as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "${missing[@]}" > /dev/null || {
    echo "The browser tests need the packages ${missing[*]}: install them (on Debian and Ubuntu: sudo apt-get install ${missing[*]}), and run the command again." >&2
    exit 1
  }
fi

chromium="$(command -v chromium || true)"
if [ -z "$chromium" ] || ! grep -qx ID=debian /etc/os-release; then
  echo "Downloading Playwright's Chromium ..."
  export PLAYWRIGHT_BROWSERS_PATH="$folder"
  find='from playwright.sync_api import sync_playwright as start; p = start().start(); print(p.chromium.executable_path); p.stop()'
  "$venv/bin/playwright" install --no-shell chromium > /dev/null && chromium="$("$venv/bin/python" -c "$find")" || {
    echo "The browser tests need Chromium, and it could not be installed: connect to the internet, and run the command again." >&2
    exit 1
  }
fi
firefox="$(command -v firefox-esr || command -v firefox || true)"
if [ -z "$firefox" ]; then
  echo "The browser tests need Firefox: install it (https://www.mozilla.org/firefox/), and run the command again." >&2
  exit 1
fi
ln -sfn "$chromium" "$folder/chromium"
ln -sfn "$(readlink -f "$firefox")" "$folder/firefox"
ln -sfn "$(command -v WebKitWebDriver)" "$folder/webkit-driver"
touch "$folder/ready"
