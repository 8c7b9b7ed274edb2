#!/bin/bash
# The sources of the libraries, from apt repositories that this test makes: which version is taken
# when a mirror lacks what its lists name, what is refused, what is said.
cd "$(dirname "$0")/.." || exit 1
WORK=$(mktemp -d) || exit 1
trap 'gpgconf --homedir "$WORK/gpg" --kill all; rm -rf "$WORK"' EXIT
REPO=$WORK/debian
passed=0 failed=0

result() {
	if [ "$1" = 0 ]; then
		echo "ok deps $2"
		passed=$((passed + 1))
	else
		cat "$WORK/said"
		echo "not ok deps $2"
		failed=$((failed + 1))
	fi
}

# ---- a repository

make_key() {
	mkdir -m 700 "$WORK/gpg"
	gpg --homedir "$WORK/gpg" --batch --quiet --passphrase '' --quick-gen-key "$1" ed25519 sign never 2>/dev/null
	gpg --homedir "$WORK/gpg" --batch --export "$1" >"$WORK/$1.gpg"
}

line_of() {
	printf ' %s %s %s\n' "$("$1" "$2" | cut -d ' ' -f 1)" "$(stat -c %s "$2")" "$(basename "$2")"
}

# source_package PACKAGE VERSION: its files in the current folder, which hold no more than their names
source_package() {
	local upstream=${2%-*} files
	mkdir "$1-$upstream" && echo "$1 $2" >"$1-$upstream/VERSION"
	[ -f "$1_$upstream.orig.tar.gz" ] || tar -czf "$1_$upstream.orig.tar.gz" "$1-$upstream"
	mkdir debian && echo "$2" >debian/changelog && tar -czf "$1_$2.debian.tar.gz" debian
	rm -r "$1-$upstream" debian
	files=("$1_$upstream.orig.tar.gz" "$1_$2.debian.tar.gz")
	{
		printf 'Format: 3.0 (quilt)\nSource: %s\nBinary: %s\nVersion: %s\nChecksums-Sha256:\n' "$1" "$1" "$2"
		for f in "${files[@]}"; do line_of sha256sum "$f"; done
		printf 'Files:\n'
		for f in "${files[@]}"; do line_of md5sum "$f"; done
	} >"$1_$2.dsc"
}

# publish SUITE PACKAGE VERSION [MISSING]: adds it to the suite's list; of its files the pool lacks
# those that match MISSING
publish() {
	local pool=$REPO/pool/$1/$2/$3 list=$REPO/dists/$1/main/source/Sources
	mkdir -p "$pool" "$(dirname "$list")"
	(cd "$pool" && source_package "$2" "$3" && {
		printf 'Package: %s\nBinary: %s\nVersion: %s\nFormat: 3.0 (quilt)\nDirectory: pool/%s/%s/%s\nFiles:\n' "$2" "$2" "$3" "$1" "$2" "$3"
		for f in *; do line_of md5sum "$f"; done
		printf 'Checksums-Sha256:\n'
		for f in *; do line_of sha256sum "$f"; done
		echo
	} >>"$list")
	[ -z "${4:-}" ] || find "$pool" -name "$4" -delete
}

# sign_suites [KEY]
sign_suites() {
	local suite
	for suite in "$REPO"/dists/*; do
		(cd "$suite" && rm -f InRelease && {
			printf 'Origin: Test\nSuite: %s\nCodename: %s\nComponents: main\nArchitectures: all\nDate: %s\n%sSHA256:\n' \
				"${suite##*/}" "${suite##*/}" "$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S UTC')" "${VALID_UNTIL:-}"
			printf ' %s %s main/source/Sources\n' "$(sha256sum <main/source/Sources | cut -d ' ' -f 1)" "$(stat -c %s main/source/Sources)"
		} >Release && gpg --homedir "$WORK/gpg" --batch --quiet --local-user "${1:-tester}" --clearsign -o InRelease Release)
	done
}

# The machine's apt, as it seems to the script.
machine() {
	mkdir -p "$WORK/apt/lists/partial"
	printf 'deb [signed-by=%s] file:%s trixie main\n' "$WORK/tester.gpg" "$REPO" >"$WORK/apt/sources.list"
	printf 'Dir::Etc::sourcelist "%s";\nDir::Etc::sourceparts "/dev/null";\nDir::State::lists "%s";\n' \
		"$WORK/apt/sources.list" "$WORK/apt/lists" >"$WORK/apt.conf"
}

# ---- the cases

# start: an empty repository, and a lock that names what the cases publish
start() {
	rm -rf "$REPO" "$WORK/out" "$WORK/folder"
	mkdir -p "$REPO/dists" "$WORK/folder"
	: >"$WORK/lock"
}

# whole SUITE: versions of all three that can be had
whole() {
	publish "$1" musl 1.2.5-1
	publish "$1" openssl 3.5.7-1
	publish "$1" postgresql-18 18.6-1
}

# lock NAME PACKAGE VERSION SUITE [SUM]
lock() {
	local sum=${5:-$(sha256sum "$REPO/pool/$4/$2/$3/$2_$3.dsc" 2>/dev/null | cut -d ' ' -f 1)}
	echo "$1 $2 $3 $4 ${sum:-0}" >>"$WORK/lock"
}

# fetch EXIT [SRC]: with that exit code
fetch() {
	local want=$1 code
	shift
	APT_CONFIG=$WORK/apt.conf DEPS_KEYRING=$WORK/tester.gpg DEPS_LOCK=$WORK/lock deps/fetch.sh "$WORK/out" "$@" >"$WORK/said" 2>&1 </dev/null
	code=$?
	[ "$code" = "$want" ] || { echo "exit code $code, not $want" >>"$WORK/said"; return 1; }
}

said() {
	grep -qE -- "$1" "$WORK/said" || { echo "it should say: $1" >>"$WORK/said"; return 1; }
}

took() {
	grep -q "^$1 $2 $3 " "$WORK/out/versions" || { cat "$WORK/out/versions" >>"$WORK/said"; return 1; }
}

nothing_is_left() {
	[ ! -e "$WORK/out/.done" ] && [ ! -e "$WORK/out/versions" ]
}

case_the_locked_version_is_taken_though_newer_ones_are_there() {
	whole forky && whole trixie && publish trixie musl 1.2.6-1
	lock musl musl 1.2.5-1 trixie && lock openssl openssl 3.5.7-1 trixie && lock libpq postgresql-18 18.6-1 forky
	sign_suites && fetch 0 && took musl 1.2.5 1.2.5-1 && took libpq 18.6 18.6-1 && ! said 'will differ' >/dev/null &&
		said 'musl 1.2.5-1 is taken, as a release does'
}

case_the_locked_version_is_found_in_another_suite() {
	whole trixie && publish sid musl 1.2.4-1
	lock musl musl 1.2.4-1 forky "$(sha256sum "$REPO/pool/sid/musl/1.2.4-1/musl_1.2.4-1.dsc" | cut -d ' ' -f 1)"
	sign_suites && fetch 0 && took musl 1.2.4 1.2.4-1 && said 'musl 1.2.4-1 is taken, as a release does'
}

case_a_version_that_the_pool_lacks_is_passed_over() {
	whole trixie && publish trixie musl 1.2.5-10 '*' && lock musl musl 1.2.5-10 trixie 1234
	sign_suites && fetch 0 && took musl 1.2.5 1.2.5-1 && said 'musl 1.2.5-10 of trixie: .* does not have all of it' &&
		said "musl 1.2.5-1 is taken: a release is built from 1.2.5-10, so the bits will differ"
}

case_a_version_with_a_hole_is_not_half_used() {
	whole trixie && publish trixie openssl 3.5.9-1 '*.debian.tar.gz' && publish trixie openssl 3.5.8-1 '*.orig.tar.gz'
	sign_suites && fetch 0 && took openssl 3.5.7 3.5.7-1 && [ "$(ls "$WORK/out/openssl" | wc -l)" = 3 ] &&
		! ls "$WORK/out/openssl" | grep -q 3.5.9
}

case_the_newest_of_a_suite_comes_first_and_suites_in_their_order() {
	whole sid && publish forky musl 1.2.6-1 && publish trixie musl 1.2.5-9 && publish trixie musl 1.2.5-10
	publish trixie musl '1.2.5-10~deb13u1'
	sign_suites && fetch 0 && took musl 1.2.5 1.2.5-10
}

case_an_older_libpq_is_the_last_resort() {
	whole trixie && rm -r "$REPO/pool/trixie/postgresql-18" && publish bookworm postgresql-15 15.18-1 && publish sid postgresql-16 16.9-1
	sign_suites && fetch 0 && took libpq 16.9 16.9-1 && DEPS_LIBPQ=15 fetch 0 && took libpq 15.18 15.18-1
}

case_a_wrong_sum_is_refused() {
	whole trixie && lock musl musl 1.2.5-1 trixie 1234
	sign_suites && fetch 1 && said 'musl 1.2.5-1 is not what .*lock says: its .dsc has SHA-256 [0-9a-f]{64}\. Nothing is built' && nothing_is_left
}

case_a_file_that_is_not_what_the_list_says_is_refused() {
	whole trixie && publish trixie musl 1.2.5-2
	sign_suites && echo more >>"$REPO/pool/trixie/musl/1.2.5-2/musl_1.2.5.orig.tar.gz"
	fetch 0 && took musl 1.2.5 1.2.5-1
}

case_a_list_signed_by_another_key_is_not_read() {
	whole sid && publish trixie musl 1.2.9-1
	sign_suites && (REPO=$WORK/other && mkdir -p "$REPO/dists" && cp -r "$WORK/debian/dists/trixie" "$REPO/dists/" && sign_suites stranger &&
		cp "$REPO/dists/trixie/InRelease" "$WORK/debian/dists/trixie/") && fetch 0 && took musl 1.2.5 1.2.5-1
}

case_a_list_past_its_date_is_read() {
	whole trixie && VALID_UNTIL=$'Valid-Until: Mon, 02 Nov 2020 00:00:00 UTC\n' sign_suites
	fetch 0 && took musl 1.2.5 1.2.5-1
}

case_nothing_at_all_is_one_line_that_tells_what_to_do() {
	fetch 1 && said 'apt can fetch no version of musl .*make DEPS_SRC=folder' && [ "$(wc -l <"$WORK/said")" = 1 ] && nothing_is_left
}

case_it_is_not_done_twice() {
	whole trixie && sign_suites && fetch 0 && rm -rf "$REPO/dists" && fetch 0 && [ ! -s "$WORK/said" ]
}

# ---- from a folder

case_a_folder_with_dsc_files() {
	(cd "$WORK/folder" && source_package musl 1.2.5-1 && source_package openssl 3.5.7-1 && source_package postgresql-17 17.9-2)
	fetch 0 "$WORK/folder" && took libpq 17.9 17.9-2 && said "libpq from .*/postgresql-17_17.9-2.dsc" && took musl 1.2.5 1.2.5-1 &&
		rm -r "$WORK/out" && echo more >>"$WORK/folder/musl_1.2.5-1.debian.tar.gz" && fetch 1 "$WORK/folder" &&
		said 'a file that musl_1.2.5-1.dsc names is missing or not what it says' && nothing_is_left
}

case_a_folder_with_debian_s_tarballs() {
	(cd "$WORK/folder" && source_package musl 1.2.5-1 && source_package openssl 3.5.7-1 && source_package postgresql-18 18.6-2 && rm ./*.dsc musl*.debian*)
	lock libpq postgresql-18 18.6-2 forky 1234
	fetch 0 "$WORK/folder" && took libpq 18.6 18.6-2 && took musl 1.2.5 - && ! said 'as a release does' >/dev/null &&
		said "libpq 18.6-2 is taken, by its file's name" && said 'libpq from .*/postgresql-18_18.6.orig.tar.gz and postgresql-18_18.6-2.debian.tar.gz'
}

case_a_folder_with_the_projects_own_tarballs() {
	local name
	for name in musl-1.2.5 openssl-3.5.7 postgresql-17.9 postgresql-15.18; do tar -czf "$WORK/folder/$name.tar.gz" -T /dev/null; done
	fetch 0 "$WORK/folder" && took musl 1.2.5 - && took libpq 17.9 - && DEPS_LIBPQ=15 fetch 0 "$WORK/folder" && took libpq 15.18 -
}

case_a_folder_that_lacks_one() {
	(cd "$WORK/folder" && source_package musl 1.2.5-1)
	fetch 1 "$WORK/folder" && said '/folder has no source of openssl: openssl\*\.dsc with its files' && nothing_is_left
}

main() {
	local name
	make_key tester && gpg --homedir "$WORK/gpg" --batch --quiet --passphrase '' --quick-gen-key stranger ed25519 sign never 2>/dev/null
	machine
	for name in $(declare -F | sed -n 's/^declare -f case_//p'); do
		start
		"case_$name"
		result $? "${name//_/ }"
	done
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
}

main
