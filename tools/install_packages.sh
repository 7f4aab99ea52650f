#!/bin/sh
# Installs the Debian packages that are missing: tools/install_packages.sh [check]
# Without an argument those for building and running, with "check" also those that the tests and the linters need.
# Not root and no sudo without a password: prints the one line to run and stops with 1.
set -u

wanted="build-essential cmake ninja-build pkg-config python3 python3-pip python3-venv ca-certificates
        libdnnl-dev libjansson-dev libpcre2-dev libutf8proc-dev libpopt-dev zlib1g-dev libzstd-dev libxxhash-dev"
if [ "${1:-}" = check ]; then
    wanted="$wanted libcriterion-dev clang-format clang-tidy libomp-14-dev shellcheck codespell librsvg2-bin libxml2-utils chromium"
fi

if ! command -v dpkg-query >/dev/null 2>&1; then
    # shellcheck disable=SC2086 # a list of words
    echo "not a Debian system: nothing was installed; needed are the equivalents of:" $wanted
    exit 0
fi
missing=
for package in $wanted; do
    case $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) in
    installed) ;;
    *) missing="$missing $package" ;;
    esac
done
if [ -z "$missing" ]; then
    echo "all packages are there"
    exit 0
fi

echo "missing:$missing"
install="apt-get update && apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
    root=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    root="sudo -n"
else
    echo "packages are missing and this user may not install them; run:  sudo sh -c '$install'"
    exit 1
fi
# shellcheck disable=SC2086 # both are lists of words
if ! { $root env DEBIAN_FRONTEND=noninteractive apt-get update &&
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; }; then
    echo "apt-get could not install:$missing"
    exit 1
fi
