#!/bin/sh
# Builds the three libraries that go into the static binary: musl, OpenSSL, libpq.
#
#   deps/build.sh OUT [SRC]
#
# OUT   where everything is kept: OUT/src (tarballs), OUT/work (trees), OUT/root (the result)
# SRC   a folder with the sources, for a machine without apt; deps/fetch.sh says what it may hold
#
# A step that is done leaves a stamp and is not done again.
set -eu
unset MAKEFLAGS MFLAGS  # else a caller's make ARCH=armv7 would overrule what these libraries' own makefiles call it

OUT=$(mkdir -p "$1" && cd "$1" && pwd)
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$OUT/root
HOST=$(uname -m | sed s/armv7l/armv7/)
ARCH=${ARCH:-$HOST}
case $ARCH in
x86_64) TRIPLET=x86_64-linux-gnu OPENSSL=linux-x86_64 ;;
aarch64) TRIPLET=aarch64-linux-gnu OPENSSL=linux-aarch64 ;;
armv7) TRIPLET=arm-linux-gnueabihf OPENSSL=linux-armv4 ;;
*) echo "deps: ARCH=$ARCH: neither x86_64, aarch64 nor armv7" >&2; exit 1 ;;
esac
if [ "$ARCH" = "$HOST" ]; then
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

# unpack NAME: OUT/work/NAME holds the tree, with Debian's patches where there are any
unpack() {
	tree=$OUT/work/$1
	rm -rf "$tree" && mkdir -p "$tree"
	for f in "$OUT/src/$1"/*.tar.*; do
		case $f in
		*.asc) ;;
		*.debian.tar.*) tar -xf "$f" -C "$tree" ;;
		*) tar -xf "$f" -C "$tree" --strip-components=1 ;;
		esac
	done
	[ ! -f "$tree/debian/patches/series" ] || grep -v '^ *#' "$tree/debian/patches/series" | while read -r p _; do
		[ -z "$p" ] || patch -d "$tree" -p1 -s -t <"$tree/debian/patches/$p" || exit 1
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

# What a client of PostgreSQL needs nothing of.
NO_SSL="shared dso engine async legacy apps docs tests quic module comp ct cmp cms ts srp psk ocsp dtls ssl3 idea seed
	camellia aria bf cast rc2 rc4 md4 mdc2 whirlpool sm2 sm3 sm4 siphash blake2 rmd160 gost srtp nextprotoneg
	ui-console makedepend ml-dsa slh-dsa dsa ec2m scrypt ssl-trace"

# Each as an option of Configure, if this version knows it.
without() {
	for feature in $NO_SSL; do
		! grep -qw -e "$feature" Configure || echo "no-$feature"
	done
}

build_openssl() {
	unpack openssl
	cd "$OUT/work/openssl"
	# AES by AVX-512 is one loop unrolled to 740 kB; by AES-NI it is still many times faster than COPY.
	for f in crypto/modes/asm/aes-gcm-avx512.pl crypto/aes/asm/aesni-xts-avx512.pl; do
		[ ! -f "$f" ] || sed -i 's/^if (\$avx512vaes.*) {/if (0) {/' "$f"
	done
	./Configure "$OPENSSL" --prefix=/usr --openssldir=/etc/ssl --libdir=lib $(without) \
		$SMALL CC=static-cc AR="${CROSS}ar" RANLIB="${CROSS}ranlib"
	make -j"$JOBS" build_sw
	cp libssl.a libcrypto.a "$ROOT/lib/"
	cp -r include/openssl "$ROOT/include/"
	cp LICENSE.txt "$ROOT/openssl.license"
}

build_libpq() {
	unpack libpq
	cd "$OUT/work/libpq"
	# 16 KB at a time, and a call of the kernel for every 8 KB that are sent, is little for rows by the million.
	sed -i 's/\(conn->\(in\|out\)BufSize = \)16 \* 1024;/\1128 * 1024;/' src/interfaces/libpq/fe-connect.c
	sed -i 's/\(if (conn->outCount >= \)8192)/\165536)/' src/interfaces/libpq/fe-misc.c
	grep -q 'outBufSize = 128 ' src/interfaces/libpq/fe-connect.c && grep -q 'outCount >= 65536' src/interfaces/libpq/fe-misc.c ||
		echo "libpq has other words where its buffers' sizes are: they stay as they are"
	./configure CC=static-cc CFLAGS="$SMALL" AR="${CROSS}ar" \
		${CROSS:+--host="$TRIPLET"} LDFLAGS=-static --prefix=/usr --without-readline --without-zlib --without-icu --with-openssl \
		--sysconfdir=/etc/postgresql-common --disable-rpath
	make -j"$JOBS" -C src/backend generated-headers
	make -j"$JOBS" -C src/common all
	make -j"$JOBS" -C src/port all
	make -j"$JOBS" -C src/interfaces/libpq libpq.a
	cp src/interfaces/libpq/libpq.a src/common/libpgcommon_shlib.a src/port/libpgport_shlib.a "$ROOT/lib/"
	cp src/interfaces/libpq/libpq-fe.h src/include/postgres_ext.h "$ROOT/include/"
	[ ! -f src/include/pg_config_ext.h ] || cp src/include/pg_config_ext.h "$ROOT/include/"   # before PostgreSQL 18
	cp COPYRIGHT "$ROOT/postgresql.license"
}

# The last resort knows less than what README tells of.
say_old_libpq() {
	awk '$1 == "libpq" && $2 < 16 { print $2 }' "$OUT/src/versions" | while read -r version; do
		say "libpq $version does not know sslrootcert=system, require_auth and load_balance_hosts: a config that uses them is refused"
	done
}

# other scripts or sources than those that built what is there: all anew
KEY="$(cat "$0" "$HERE/fetch.sh" "$HERE/sources.lock" | cksum) ${DEPS_LIBPQ:-} ${2:-}"
[ "$(cat "$OUT/.done" 2>/dev/null)" != "$KEY" ] || {
	[ -z "$(find "$HERE" -newer "$OUT/.done")" ] || touch "$OUT/.done"
	exit 0
}
[ "$(cat "$OUT/work/.script" 2>/dev/null)" = "$KEY" ] || rm -rf "$OUT/work" "$ROOT"
mkdir -p "$OUT/work"
echo "$KEY" >"$OUT/work/.script"
: >>"$LOG"
if [ -n "$CROSS" ]; then
	"$HERE/install.sh" build "cross-$TRIPLET"
else
	"$HERE/install.sh" build
fi
"$HERE/fetch.sh" "$OUT/src" ${2:+"$2"}
cmp -s "$OUT/src/versions" "$OUT/work/.versions" || {
	rm -rf "$OUT"/work/.musl "$OUT"/work/.openssl "$OUT"/work/.libpq "$ROOT"
	cp "$OUT/src/versions" "$OUT/work/.versions"
}
step musl build_musl
step openssl build_openssl
step libpq build_libpq
say_old_libpq
cp "$OUT/src/versions" "$ROOT/versions"
echo "$KEY" >"$OUT/.done"
