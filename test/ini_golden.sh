#!/bin/sh
# Compares what ini.c reads from test/ini/*.ini, and from some large files made here, with the
# .want beside each, and where python3 is there, with what Python's configparser reads. A file
# NAME.nopython says why Python is not asked about NAME.
#
# usage: ini_golden.sh [PROGRAM]	one built from test/unit/ini.c; unset, it is built
cd "$(dirname "$0")/.." || exit 1
program=${1:-build/test/ini}
[ $# -gt 0 ] || test/unit.sh ini >/dev/null
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
passed=0 failed=0
python=$(command -v python3)

# verdict NAME GOT WANTED: compares two files.
verdict() {
	if cmp -s "$2" "$3"; then
		echo "ok $1"
		passed=$((passed + 1))
	else
		echo "not ok $1: got (<) wanted (>)"
		diff "$2" "$3" | cut -c 1-200 | head -n 10
		failed=$((failed + 1))
	fi
}

# compare FOLDER: every FILE.ini in it with FILE.want.
compare() {
	for file in "$1"/*.ini; do
		name=$(basename "$file" .ini)
		"$program" "$file" >"$dir/got" 2>&1 || echo "it ended with $?" >>"$dir/got"
		verdict "ini/$name" "$dir/got" "${file%.ini}.want"
	done
	[ -n "$python" ] || return 0
	"$python" test/ini_python.py "$dir" "$1"/*.ini
	for file in "$1"/*.ini; do
		[ ! -e "${file%.ini}.nopython" ] || continue
		name=$(basename "$file" .ini)
		sed 's/^error line [0-9]*$/error/' "${file%.ini}.want" >"$dir/wanted"
		verdict "ini/$name as Python reads it" "$dir/$name.python" "$dir/wanted"
	done
}

compare test/ini
for file in test/ini/*.want test/ini/*.nopython; do
	if [ ! -e "${file%.*}.ini" ]; then
		echo "not ok $file: there is no such .ini"
		failed=$((failed + 1))
	fi
done

# x N: prints N times the letter x
x() {
	head -c "$1" /dev/zero | tr '\0' x
}

{ printf '[s]\nk = '; x 5000000; printf '\nl = 1\n'; } >"$dir/long_value.ini"
{ printf 's\tk\t'; x 5000000; printf '\ns\tl\t1\n'; } >"$dir/long_value.want"

{ printf '[s]\n# '; x 5000000; printf '\nk = 1\n  '; x 5000000; printf '\nl = 1\n'; } >"$dir/long_continuation.ini"
{ printf 's\tk\t1\\n'; x 5000000; printf '\ns\tl\t1\n'; } >"$dir/long_continuation.want"

{ printf '[s]\n'; x 1000000; printf ' = 1\n['; x 1000000; printf ']\n'; } >"$dir/long_names.ini"
{ printf 's\t'; x 1000000; printf '\t1\n'; x 1000000; printf '\t\t\n'; } >"$dir/long_names.want"

{ printf '[s]\nk = 1\n'; x 5000000; printf '\n'; } >"$dir/long_junk.ini"
printf 'error line 3\n' >"$dir/long_junk.want"

{ printf '[s]\n'; x 300; printf ' = 1\nk = %%('; x 300; printf ')s\n'; } >"$dir/long_interpolated_name.ini"
{ printf 's\t'; x 300; printf '\t1\ns\tk\t1\n'; } >"$dir/long_interpolated_name.want"

# 10 MB: 1000 keys of 100 lines of 100 bytes
lines='function rep(n, s) { r = ""; while (n--) r = r s; return r }
BEGIN { line = rep(10, "0123456789"); value = rep(100, before line after)
for (i = 0; i < 1000; i++) printf format, i, value; }'
{ printf '[s]\n'; awk -v before='\n\t' -v after= -v format='key_%d =%s\n' "$lines"; } >"$dir/large.ini"
awk -v before='\\n' -v after= -v format='s\tkey_%d\t%s\n' "$lines" >"$dir/large.want"

{ cat "$dir/large.ini"; printf 'key_500 = again\n'; } >"$dir/large_duplicate.ini"
printf 'error line 101002\n' >"$dir/large_duplicate.want"

compare "$dir"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
