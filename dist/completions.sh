#!/bin/sh
# Writes what ./tdispatch --completion prints to where the shells look for it below SHARE, a
# prefix's share folder. zsh has a folder for what was installed by hand, site-functions, and
# Debian's packages have one of their own.
#
#	dist/completions.sh SHARE ZSH_FOLDER
set -eu
cd "$(dirname "$0")/.."

# put SHELL FILE
put() {
	mkdir -p "$(dirname "$2")"
	./tdispatch --completion "$1" >"$2"
	chmod 644 "$2"
}

put bash "$1/bash-completion/completions/tdispatch"
put zsh "$1/zsh/$2/_tdispatch"
put fish "$1/fish/vendor_completions.d/tdispatch.fish"
