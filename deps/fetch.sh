#!/bin/sh
# Gets the sources of musl, OpenSSL and libpq, those of deps/sources.lock if they can be had.
#
#   deps/fetch.sh OUT [SRC]
#
# OUT   OUT/musl, OUT/openssl and OUT/libpq each get one version's files, whole, and OUT/versions a
#       line for each: its name, upstream's version, Debian's (- for sources that are not Debian's),
#       and the SHA-256 of its .dsc, or of its tarball where there is no .dsc
# SRC   a folder with the sources, for a machine without apt: Debian's .dsc with the files that it
#       names, or *.orig.tar.* (with *.debian.tar.* for its patches), or upstream's musl-*.tar.*,
#       openssl-*.tar.*, postgresql-*.tar.*
#
# DEPS_LIBPQ=NN takes libpq from that major version of PostgreSQL alone.
#
# Without SRC the sources come by apt, which checks their signatures, from the mirror that this
# machine's apt uses; the machine's own lists are left alone. A mirror's lists may name files that
# it does not have: then the next version is tried, the newest of a suite first. A mirror that stands
# still has lists that are past their date; they are read, for what is taken is locked or told.
set -eu

SUITES='trixie-security trixie-updates trixie forky sid bookworm'
KEYRING=${DEPS_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
LOCK=${DEPS_LOCK:-$(dirname "$0")/sources.lock}
OUT=$(mkdir -p "$1" && cd "$1" && pwd)
SRC=${2:-}
[ -z "$SRC" ] || SRC=$(cd "$SRC" && pwd) || exit 1
APT=$OUT/apt
LOG=$OUT/fetch.log
OTHERWISE='get the sources by other means and run: make DEPS_SRC=folder'

say() { printf 'deps: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# locked NAME FIELD: field 2 (package) to 5 (sum) of the lock's line; nothing for another libpq than DEPS_LIBPQ
locked() {
	awk -v name="$1" -v field="$2" -v only="${DEPS_LIBPQ:+postgresql-$DEPS_LIBPQ}" \
		'$1 == name && (name != "libpq" || only == "" || $2 == only) { print $field }' "$LOCK"
}

packages() {
	case $1 in
	libpq) [ -z "${DEPS_LIBPQ:-}" ] && echo postgresql-18 postgresql-17 postgresql-16 postgresql-15 || echo "postgresql-$DEPS_LIBPQ" ;;
	*) echo "$1" ;;
	esac
}

sum_of() {
	sha256sum "$1" | cut -d ' ' -f 1
}

# ---- by apt

# The base URIs of this machine's apt, also where its lists were never read.
mirrors() {
	{
		apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages'
		apt-get update --print-uris | sed -n "s#^'\(.*/\)dists/.*#\1#p"
	} 2>>"$LOG" | sort -u | grep -i debian
}

# suite_list SUITE: its deb-src lines
suite_list() {
	for uri in $(mirrors); do
		case $uri,$1 in
		*security*,*-security | *security*,*/updates) ;;
		*security*,* | *,*-security) continue ;;
		esac
		echo "deb-src [signed-by=$KEYRING] $uri $1 main"
	done
}

# in_suite SUITE COMMAND...: apt's command with the lists of that suite alone
in_suite() {
	dir=$APT/$1 command=$2
	shift 2
	"$command" -qq -o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$dir/lists" -o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root \
		-o Acquire::Check-Valid-Until=false "$@"
}

# read_suite SUITE: its lists are here, read once; fails when the mirror has none
read_suite() {
	if [ ! -d "$APT/$1" ]; then
		mkdir -p "$APT/$1/lists/partial" "$APT/$1/cache/archives/partial"
		suite_list "$1" >"$APT/$1/sources.list"
		[ -s "$APT/$1/sources.list" ] && in_suite "$1" apt-get update -o APT::Update::Error-Mode=any >>"$LOG" 2>&1 && touch "$APT/$1/.read"
	fi
	[ -f "$APT/$1/.read" ]
}

# versions_in SUITE PACKAGE: newest first
versions_in() {
	in_suite "$1" apt-cache showsrc --only-source "$2" 2>>"$LOG" | sed -n 's/^Version: //p' | sort -rVu
}

# fetch_version NAME SUITE PACKAGE VERSION: all its files are in OUT/NAME, or none
fetch_version() {
	rm -rf "${OUT:?}/$1" && mkdir "$OUT/$1"
	(cd "$OUT/$1" && in_suite "$2" apt-get --download-only --only-source source "$3=$4" >>"$LOG" 2>&1) && return
	say "$3 $4 of $2: the mirror's list names it, but the mirror does not have all of it"
	rm -rf "${OUT:?}/$1"
	return 1
}

fetch_locked() {
	package=$(locked "$1" 2) version=$(locked "$1" 3)
	[ -n "$package" ] || return 1
	for suite in $(locked "$1" 4) $SUITES; do
		read_suite "$suite" && versions_in "$suite" "$package" | grep -qxF "$version" &&
			fetch_version "$1" "$suite" "$package" "$version" && return
	done
	return 1
}

# What fetch_locked tried is not tried again.
fetch_newest() {
	for suite in $SUITES; do
		read_suite "$suite" || continue
		for package in $(packages "$1"); do
			for version in $(versions_in "$suite" "$package"); do
				[ "$version" = "$(locked "$1" 3)" ] || ! fetch_version "$1" "$suite" "$package" "$version" || return 0
			done
		done
	done
	return 1
}

fetch_by_apt() {
	command -v apt-get >/dev/null 2>&1 || die "no apt on this machine: $OTHERWISE"
	[ -n "$(mirrors)" ] || die "apt knows no mirror of Debian's here (none with debian in its address): $OTHERWISE"
	[ -f "$KEYRING" ] || die "$KEYRING is missing: install debian-archive-keyring, or $OTHERWISE"
	fetch_locked "$1" || fetch_newest "$1" || die "apt can fetch no version of $1 (see $LOG): $OTHERWISE"
}

# ---- from a folder

# newest PATTERN: of the files that match in SRC, the one of the highest version
newest() {
	find "$SRC" -maxdepth 1 -name "$1" ! -name '*.asc' | sed 's#.*/##' | sort -V | tail -n 1
}

# files_of DSC: a line a file, "sum  name", as sha256sum takes it
files_of() {
	sed -n '/^Checksums-Sha256:/,/^[^ ]/s/^ \([0-9a-f]*\) [0-9]* \(.*\)/\1  \2/p' "$1"
}

fetch_from_folder() {
	case $1 in
	libpq) base=postgresql major=-${DEPS_LIBPQ:-[0-9]*} ;;
	*) base=$1 major= ;;
	esac
	rm -rf "${OUT:?}/$1" && mkdir "$OUT/$1"
	dsc=$(newest "$base${major}_*.dsc")
	if [ -n "$dsc" ]; then
		(cd "$SRC" && files_of "$dsc" | sha256sum -c --quiet >>"$LOG" 2>&1) || die "$SRC: a file that $dsc names is missing or not what it says (see $LOG)"
		(cd "$SRC" && cp "$dsc" $(files_of "$dsc" | sed 's/.*  //') "$OUT/$1/")
		say "$1 from $SRC/$dsc"
		return
	fi
	tar=$(newest "$base${major}_*.orig.tar.*")
	[ -n "$tar" ] || tar=$(newest "$base${major:--[0-9]}*.tar.*")
	[ -n "$tar" ] || die "$SRC has no source of $1: $base*.dsc with its files, $base*.orig.tar.* or $base-*.tar.*"
	patches=$(newest "${tar%.orig.tar.*}-*.debian.tar.*")
	(cd "$SRC" && cp "$tar" ${patches:+"$patches"} "$OUT/$1/")
	say "$1 from $SRC/$tar${patches:+ and $patches}"
}

# ---- what was got

# version_line NAME: for OUT/versions
version_line() {
	set -- "$1" "$OUT/$1"/*.dsc "$OUT/$1"/*.debian.tar.* "$OUT/$1"/*.orig.tar.*[z2] "$OUT/$1"/*.tar.*[z2]
	name=$1 debian=- sum=
	shift
	for f; do
		[ -f "$f" ] || continue
		[ -n "$sum" ] || case $f in *.debian.tar.*) ;; *) sum=$(sum_of "$f") ;; esac
		case $f in
		*.dsc) debian=$(sed -n 's/^Version: \([0-9]*:\)\{0,1\}//p' "$f") ;;
		*.debian.tar.*) [ "$debian" != - ] || debian=$(basename "${f%.debian.tar.*}" | sed 's/^[^_]*_//') ;;
		*) upstream=$(basename "$f" | sed 's/^[a-z]*\(-[0-9]*_\|[_-]\)//; s/\(\.orig\)\{0,1\}\.tar\..*//'); break ;;
		esac
	done
	echo "$name $upstream $debian $sum"
}

# judge NAME: says which version was taken; the locked one must be what the lock says
judge() {
	version_line "$1" | while read -r name upstream debian sum; do
		version=$debian
		[ "$debian" != - ] || version=$upstream
		if [ "$version" != "$(locked "$name" 3)" ]; then
			say "$name $version is taken: a release is built from $(awk -v name="$name" '$1 == name { print $3 }' "$LOCK"), so the bits will differ from a release's"
		elif [ ! -f "$OUT/$name/"*.dsc ]; then
			say "$name $version is taken, by its file's name: without a .dsc nothing tells whether it is what a release is built from"
		elif [ "$sum" != "$(locked "$name" 5)" ]; then
			die "$name $version is not what $LOCK says: its .dsc has SHA-256 $sum. Nothing is built from it"
		else
			say "$name $version is taken, as a release does"
		fi
	done
}

# What OUT/.done says when all is there: by this script and lock, from there.
key() {
	echo "$(cat "$0" "$LOCK" | cksum) ${DEPS_LIBPQ:-} $SRC"
}

[ "$(cat "$OUT/.done" 2>/dev/null)" != "$(key)" ] || exit 0
rm -rf "$OUT/.done" "$APT"
: >"$LOG"
for name in musl openssl libpq; do
	if [ -n "$SRC" ]; then fetch_from_folder "$name"; else fetch_by_apt "$name"; fi
	judge "$name"
done
for name in musl openssl libpq; do version_line "$name"; done >"$OUT/versions"
rm -rf "$APT"
key >"$OUT/.done"
