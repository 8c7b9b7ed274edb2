#!/bin/sh
# Makes sure that this machine has the tools of a group, and installs what is missing with apt-get.
#
#   deps/install.sh GROUP...
#
# build: what builds the libraries and the static binary. cross-TRIPLET: the same for another
# architecture. dev: the system's libpq for make dev.
# lint, fuzz, valgrind, qemu: what these targets of make run. Exit 0: all is there. 1: something is missing; one line says what.
set -u

missing=

# need PACKAGE TEST...: the package is missing when the test command fails
need() {
	package=$1
	shift
	"$@" >/dev/null 2>&1 || missing="$missing $package"
}

has() {
	command -v "$1"
}

# Debian's name of a triplet's architecture
cross_name() {
	case $1 in
	aarch64-*) echo arm64 ;;
	x86_64-*) echo amd64 ;;
	*) echo armhf ;;
	esac
}

look() {
	missing=
	for group; do
		case $group in
		build)
			need gcc has gcc
			need libc6-dev [ -f /usr/include/stdio.h ]
			need linux-libc-dev [ -d /usr/include/linux ]
			for tool in make bison flex patch bzip2 file; do need $tool has $tool; done
			need perl perl -MFindBin -e 1   # perl-base is not enough
			need xz-utils has xz
			need binutils has ar
			need ca-certificates [ -d /etc/ssl/certs ]
			;;
		cross-*)
			need "gcc-$(echo "${group#cross-}" | tr _ -)" has "${group#cross-}-gcc"
			need "libc6-dev-$(cross_name "${group#cross-}")-cross" [ -f "/usr/${group#cross-}/include/linux/types.h" ]
			;;
		dev)
			need gcc has gcc
			need libc6-dev [ -f /usr/include/stdio.h ]
			need libpq-dev has pg_config
			need libssl-dev [ -f /usr/include/openssl/ssl.h ]
			;;
		lint)
			need clang has clang
			need man-db has man
			need mandoc has mandoc
			need groff-base has groff
			;;
		fuzz)
			need clang has clang
			need libclang-rt-dev [ -f "$(clang -print-file-name="libclang_rt.fuzzer-$(uname -m).a" 2>/dev/null)" ]
			;;
		valgrind) need valgrind has valgrind ;;
		qemu) need qemu-user-static has qemu-aarch64-static ;;
		*)
			echo "deps/install.sh: no group $group" >&2
			exit 1
			;;
		esac
	done
}

look "$@"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "installing what is missing:$missing" >&2
	apt-get update -qq || echo "apt-get update failed; going on with the lists that are here" >&2
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
	look "$@"
	[ -z "$missing" ] && exit 0
fi
echo "missing on this machine:$missing (names of Debian's packages). Install them and run make again." >&2
exit 1
