#!/bin/sh
# Builds the three libraries that go into the static binary: musl, OpenSSL, libpq.
#
#   deps/build.sh OUT [SRC]
#
# OUT   where everything is kept: OUT/src (tarballs), OUT/work (trees), OUT/root (the result)
# SRC   a folder with the sources, for a machine without apt: the *.orig.tar.* files of Debian's
#       source packages, or upstream's musl-*.tar.*, openssl-*.tar.*, postgresql-*.tar.*; Debian's
#       *.debian.tar.* files beside them are used for their patches
#
# Without SRC the sources come from Debian trixie by apt, which checks their signatures. The
# mirror is the one that this machine's apt uses; the machine's own lists are left alone.
# A step that is done leaves a stamp and is not done again.
set -eu
unset MAKEFLAGS MFLAGS  # else a caller's make ARCH=armv7 would overrule what these libraries' own makefiles call it

SUITE=trixie
OUT=$(mkdir -p "$1" && cd "$1" && pwd)
SRC=${2:-}
[ -z "$SRC" ] || SRC=$(cd "$SRC" && pwd) || exit 1
ROOT=$OUT/root
ARCH=${ARCH:-$(uname -m)}
case $ARCH in
x86_64) TRIPLET=x86_64-linux-gnu OPENSSL=linux-x86_64 ;;
aarch64) TRIPLET=aarch64-linux-gnu OPENSSL=linux-aarch64 ;;
armv7 | armv7l) TRIPLET=arm-linux-gnueabihf OPENSSL=linux-armv4 ;;
*) echo "deps: ARCH=$ARCH: neither x86_64, aarch64 nor armv7" >&2; exit 1 ;;
esac
if [ "$ARCH" = "$(uname -m)" ]; then
	CROSS='' HEADERS=/usr/include ASM=/usr/include/$TRIPLET/asm
else
	CROSS=$TRIPLET- HEADERS=/usr/$TRIPLET/include ASM=/usr/$TRIPLET/include/asm
fi
# These libraries read what the network sends. _FORTIFY_SOURCE is not among the flags: musl has nothing behind it.
HARDEN="-fstack-protector-strong -fstack-clash-protection"
# Nothing here unwinds a stack: the tables would be a tenth of the program.
SMALL="-Os $HARDEN -ffunction-sections -fdata-sections -fno-unwind-tables -fno-asynchronous-unwind-tables"
# Two builds are the same to the bit: no date, and no name of a folder, is in them.
export SOURCE_DATE_EPOCH=0 PATH="$ROOT/bin:$PATH"
JOBS=$(nproc 2>/dev/null || echo 2)
LOG=$OUT/build.log

say() { printf 'deps: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# private_list KEYRING: deb-src lines of Debian's source suite, from the base URIs of this machine's apt
private_list() {
	uris=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sort -u | grep -i debian || true)
	[ -n "$uris" ] || die "apt knows no Debian mirror here. Get the sources by other means and run: make DEPS_SRC=folder"
	for uri in $uris; do
		case $uri in
		*security*) echo "deb-src [signed-by=$1] $uri $SUITE-security main" ;;
		*) echo "deb-src [signed-by=$1] $uri $SUITE main" ;;
		esac
	done
}

# apt_source LIST: the three source packages by the sources list LIST, into OUT/src
apt_source() {
	apt=$OUT/apt
	rm -rf "$OUT/src" && mkdir -p "$OUT/src" "$apt/lists/partial" "$apt/cache/archives/partial"
	set -- -qq -o Dir::Etc::sourcelist="$1" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root
	apt-get "$@" update >>"$LOG" 2>&1 || die "apt could not read the lists of Debian $SUITE (see $LOG)"
	(cd "$OUT/src" && apt-get "$@" --download-only source musl openssl postgresql-17 >>"$LOG" 2>&1)
}

fetch() {
	[ -f "$OUT/src/.done" ] && return
	if [ -n "$SRC" ]; then
		mkdir -p "$OUT/src"
		cp "$SRC"/musl[-_]*.tar.* "$SRC"/openssl[-_]*.tar.* "$SRC"/postgresql-*.tar.* "$OUT/src/" 2>>"$LOG" ||
			die "$SRC must hold musl-*.tar.*, openssl-*.tar.* and postgresql-*.tar.* (or Debian's *.orig.tar.*)"
	else
		command -v apt-get >/dev/null 2>&1 || die "no apt on this machine. Put the sources of musl, OpenSSL and PostgreSQL into a folder and run: make DEPS_SRC=folder"
		keys=/usr/share/keyrings/debian-archive-keyring.gpg
		[ -f $keys ] || die "$keys is missing: install debian-archive-keyring"
		private_list $keys >"$OUT/all.list"
		grep -v -- '-security main' "$OUT/all.list" >"$OUT/base.list" || true
		say "fetching the sources from Debian $SUITE"
		apt_source "$OUT/all.list" || {
			say "the mirror lacks a security update that its list names: taking the release's own sources"
			apt_source "$OUT/base.list" || die "apt could not fetch the sources (see $LOG). Other ways: make DEPS_SRC=folder"
		}
	fi
	touch "$OUT/src/.done"
}

# unpack NAME: OUT/work/NAME holds the tree, with Debian's patches where there are any
unpack() {
	tree=$OUT/work/$1
	rm -rf "$tree" && mkdir -p "$tree"
	set -- "$OUT"/src/"$1"*orig.tar.*[z2] "$OUT"/src/"$1"-[0-9]*.tar.*[z2]
	[ -f "$1" ] || shift
	tar -xf "$1" -C "$tree" --strip-components=1
	for deb in "${1%.orig.tar.*}"-*.debian.tar.*; do
		[ -f "$deb" ] || continue
		tar -xf "$deb" -C "$tree"
		[ ! -f "$tree/debian/patches/series" ] || grep -v '^ *#' "$tree/debian/patches/series" | while read -r p _; do
			[ -z "$p" ] || patch -d "$tree" -p1 -s -t <"$tree/debian/patches/$p" || exit 1
		done
	done
}

# step NAME FUNCTION: runs it once, its output in the log, with the time it took
step() {
	[ -f "$OUT/work/.$1" ] && return
	mkdir -p "$OUT/work"
	start=$(date +%s)
	say "building $1 ..."
	set +e # errexit would be off inside the step too, were it part of an || list
	(set -e; $2) >>"$LOG" 2>&1
	rc=$?
	set -e
	[ $rc = 0 ] || { tail -n 20 "$LOG" >&2; die "building $1 failed: the end of $LOG is above"; }
	touch "$OUT/work/.$1"
	say "built $1 in $(($(date +%s) - start)) s"
}

build_musl() {
	unpack musl
	cd "$OUT/work/musl"
	./configure --prefix="$ROOT" --syslibdir="$ROOT/lib" --disable-shared --target="$TRIPLET" CROSS_COMPILE="$CROSS" CC="${CROSS}gcc" \
		CFLAGS="-Os $HARDEN -pipe -ffile-prefix-map=$OUT=."
	make -j"$JOBS"
	make install
	mkdir -p "$ROOT/kernel"
	ln -sfn "$HEADERS/linux" "$ROOT/kernel/linux"
	ln -sfn "$HEADERS/asm-generic" "$ROOT/kernel/asm-generic"
	ln -sfn "$ASM" "$ROOT/kernel/asm"
	# the compiler of the other two; OpenSSL writes its name and flags into the library
	printf '#!/bin/sh\nexec "%s/bin/musl-gcc" -idirafter "%s/kernel" -ffile-prefix-map="%s"=. "$@"\n' "$ROOT" "$ROOT" "$OUT" >"$ROOT/bin/static-cc"
	chmod +x "$ROOT/bin/static-cc"
	cp COPYRIGHT "$ROOT/musl.license"
}

build_openssl() {
	unpack openssl
	cd "$OUT/work/openssl"
	./Configure "$OPENSSL" --prefix=/usr --openssldir=/etc/ssl --libdir=lib \
		no-shared no-dso no-engine no-async no-legacy no-apps no-docs no-tests no-quic no-module \
		no-comp no-ct no-cmp no-cms no-ts no-srp no-psk no-ocsp no-dtls no-ssl3 no-idea no-seed \
		no-camellia no-aria no-bf no-cast no-rc2 no-rc4 no-md4 no-mdc2 no-whirlpool no-sm2 no-sm3 \
		no-sm4 no-siphash no-blake2 no-rmd160 no-gost no-srtp no-nextprotoneg no-ui-console no-makedepend \
		no-ml-dsa no-slh-dsa no-dsa no-ec2m no-scrypt no-ssl-trace \
		$SMALL CC=static-cc AR="${CROSS}ar" RANLIB="${CROSS}ranlib"
	make -j"$JOBS" build_sw
	cp libssl.a libcrypto.a "$ROOT/lib/"
	cp -r include/openssl "$ROOT/include/"
	cp LICENSE.txt "$ROOT/openssl.license"
}

build_libpq() {
	unpack postgresql
	cd "$OUT/work/postgresql"
	./configure CC=static-cc CFLAGS="$SMALL" AR="${CROSS}ar" \
		${CROSS:+--host="$TRIPLET"} LDFLAGS=-static --prefix=/usr --without-readline --without-zlib --without-icu --with-openssl \
		--sysconfdir=/etc/postgresql-common --disable-rpath
	make -j"$JOBS" -C src/backend generated-headers
	make -j"$JOBS" -C src/common all
	make -j"$JOBS" -C src/port all
	make -j"$JOBS" -C src/interfaces/libpq libpq.a
	cp src/interfaces/libpq/libpq.a src/common/libpgcommon_shlib.a src/port/libpgport_shlib.a "$ROOT/lib/"
	cp src/interfaces/libpq/libpq-fe.h src/include/postgres_ext.h src/include/pg_config_ext.h "$ROOT/include/"
	cp COPYRIGHT "$ROOT/postgresql.license"
}

# ROOT/versions: a line for each library, its name, its version and the SHA-256 of its source; libpq
# has those of PostgreSQL
write_versions() {
	for name in musl openssl postgresql; do
		version=''
		for f in "$OUT"/src/$name*.dsc "$OUT"/src/$name-[0-9]*.tar.*[z2] "$OUT"/src/$name*orig.tar.*[z2]; do
			[ -f "$f" ] || continue
			sum=$(sha256sum "$f" | cut -d ' ' -f 1)
			[ -n "$version" ] || version=$(basename "$f" | sed 's/^[a-z0-9-]*[_-]\([0-9].*\)\(\.dsc\|\.orig\.tar\..*\|\.tar\..*\)$/\1/')
		done
		case $name in postgresql) name=libpq ;; esac
		echo "$name $version $sum"
	done >"$ROOT/versions"
}

# another script than the one that built what is there: all anew but the sources
KEY=$(cksum <"$0")
[ "$(cat "$OUT/.done" 2>/dev/null)" != "$KEY" ] || { touch "$OUT/.done"; exit 0; }
[ "$(cat "$OUT/work/.script" 2>/dev/null)" = "$KEY" ] || rm -rf "$OUT/work" "$ROOT"
mkdir -p "$OUT/work"
echo "$KEY" >"$OUT/work/.script"
: >>"$LOG"
if [ -n "$CROSS" ]; then
	"$(dirname "$0")/install.sh" build "cross-$TRIPLET"
else
	"$(dirname "$0")/install.sh" build
fi
fetch
step musl build_musl
step openssl build_openssl
step libpq build_libpq
write_versions
echo "$KEY" >"$OUT/.done"
