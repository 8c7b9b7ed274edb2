#!/bin/bash
# make deb-test: looks at the package, and uses it in a Debian made by debootstrap, against a
# throw-away PostgreSQL. The Debian stays in build/deb/base for the next run.

TOP=$(cd "$(dirname "$0")/.." && pwd) || exit 2
. "$TOP/test/cluster.sh"
. "$TOP/test/debian.sh"

LOG=$TOP/build/deb/log

# adduser is what the package depends on.
make_base() {
	[ ! -d "$TOP/build/deb/base" ] || return 0
	mkdir -p "$TOP/build/deb"
	say "making a Debian by debootstrap"
	debian_base "$TOP/build/deb/new" adduser
	mv "$TOP/build/deb/new" "$TOP/build/deb/base"
}

main() {
	[ "$(id -u)" = 0 ] || die "only root can install a package"
	"$TOP/test/install.sh" --deb || exit 2
	make_base
	DEB=$(ls "$TOP"/build/dist/tdispatch_*.deb) VERSIONS=$(cd "$TOP" && readlink -f "${DEPS:-build/deps}/root/versions") TDISPATCH=$TOP/tdispatch SUITES=deb
	export DEB VERSIONS TDISPATCH SUITES
	exec "$TOP/test/e2e.sh" "$@"
}

main "$@"
