#!/bin/bash
# Installs what the tests and the demo need and this machine lacks: a PostgreSQL server with the
# pgq extension; with --tests also strace, ps, ip, openssl, gpg, faketime, pgbouncer, a Python consumer and a reader of
# YAML; with --image what makes an image, with --deb what
# looks at a package, too. Says in one line what it installs. Exit 0: all is
# there; exit 2: something is missing and cannot be installed from here.

cd "$(dirname "$0")" || exit 2
. ./cluster.sh

# A server that is there gets its own pgq; else the distribution's server is taken, whose number
# its pgq package carries.
wanted_packages() {
	local bin major
	find_pgbin >/dev/null && return 0
	for bin in $(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -rV); do
		major=$(basename "${bin%/bin/initdb}")
		if apt-cache show "postgresql-$major-pgq3" >/dev/null 2>&1; then
			say "postgresql-$major-pgq3"
			return 0
		fi
	done
	major=$(apt-cache search --names-only '^postgresql-[0-9]+-pgq3$' | sed 's/^postgresql-\([0-9]*\)-.*/\1/' | sort -n | tail -n 1)
	say "postgresql-${major:-NN}" "postgresql-${major:-NN}-pgq3"
}

wanted_tools() {
	[ -n "$1" ] || return 0
	command -v strace >/dev/null || say strace
	command -v ps >/dev/null || say procps
	command -v ip >/dev/null || say iproute2
	command -v openssl >/dev/null || say openssl
	command -v gpg >/dev/null || say gnupg
	command -v faketime >/dev/null || say faketime
	command -v time >/dev/null || [ -x /usr/bin/time ] || say time
	[ -x /usr/sbin/pgbouncer ] || say pgbouncer
	/usr/bin/python3 -c 'import pgq' 2>/dev/null || say python3-pgq
	/usr/bin/python3 -c 'import yaml' 2>/dev/null || say python3-yaml
	[ "$1" != --tests ] || return 0
	command -v debootstrap >/dev/null || say debootstrap
	[ "$1" != --image ] || command -v buildah >/dev/null || say buildah
	[ "$1" != --deb ] || command -v lintian >/dev/null || say lintian
	[ "$1" != --deb ] || command -v systemd-analyze >/dev/null || say systemd
}

# apt-get's own words are shown only when it fails.
apt_install() {
	local words
	words=$(DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" 2>&1 </dev/null) && return
	printf '%s\n' "$words" >&2
	return 1
}

nothing_wanted() {
	find_pgbin >/dev/null && [ -z "$(wanted_tools "$1")" ]
}

refuse() {
	die "missing: $* ($why). Install it, then try again."
}

check_means() {
	why=
	command -v apt-get >/dev/null || why="there is no apt-get here"
	[ "$(id -u)" = 0 ] || why="only root can install it"
	[ -z "$why" ] || refuse "a PostgreSQL server with the pgq extension (Debian: postgresql-NN and postgresql-NN-pgq3)" $(wanted_tools "$1")
}

main() {
	nothing_wanted "$1" && exit 0
	check_means "$1"
	apt-get update -qq || say "apt-get update failed; trying with the package lists that are here" >&2
	packages=$(wanted_packages; wanted_tools "$1")
	say "installing" $packages
	why="no such package here"
	case $packages in *NN*) refuse $packages ;; esac
	why="apt-get install failed"
	apt_install $packages || refuse $packages
	why="installed, but not found"
	nothing_wanted "$1" || refuse $packages
}

main "${1:-}"
