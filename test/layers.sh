#!/bin/sh
# Proves that a file calls only files of a lower level, and sees only the headers of its own folder.
#
#   test/layers.sh OBJECT...
#
# The levels are the order of the headers' sections, "---- file.c: ...", along the chain of includes
# that begins in tdispatch.h: a file's section must stand below those of all files that it calls.
set -eu
cd "$(dirname "$0")/.."

# sections HEADER: the files in order, from the lowest; a header's includes come before its own.
sections() {
	(
		cd "$(dirname "$1")"
		header=$(basename "$1")
		sed -n 's/^#include "\(.*\)"/\1/p' "$header" | while read -r lower; do
			sections "$PWD/$lower"
		done
		case $header in
		ini.h | urlenc.h | tdispatch.h) echo "${header%.h}" ;;
		esac
		sed -n 's#^/\* ---- \([a-z]*\)\.[cS]:.*#\1#p' "$header"
	)
}

# includes FILE...: those of the project that are not the folder's header
includes() {
	for file; do
		folder=$(dirname "$file")
		case $folder in
		.) own=$(basename "$file" .c).h ;;
		*) own=$folder.h ;;
		esac
		grep -Hn '^#include "' "$file" | grep -v -e "\"$own\"" -e '^pg/.*"pq.h"' -e '^\(event\|conf\|sink\|report\|load\)/.*"private.h"' -e '^load/.*"\(parts\|from\|merge\|run\).h"' \
			-e '^conf/.*"reading.h"' || :
	done
}

wrong=$(includes *.c */*.c)
[ -z "$wrong" ] || { printf 'not the header of its own folder:\n%s\n' "$wrong" >&2; exit 1; }

levels=$(mktemp)
trap 'rm -f "$levels"' EXIT
sections "$PWD/tdispatch.h" | awk '!seen[$1]++' >"$levels"

for object; do
	name=$(basename "$object" .o)
	nm -g --defined-only "$object" | awk -v n="$name" '{ print "def", $3, n }'
	nm -u "$object" | awk -v n="$name" '{ print "use", $2, n }'
done | sort -k1,1 | awk '
	FNR == NR { level[$1] = FNR; next }
	!($3 in level) { print $3 ": no header has a section for it"; exit bad = 1 }
	$1 == "def" { by[$2] = $3 }
	$1 == "use" && ($2 in by) && level[by[$2]] > level[$3] {
		print $3 ".c calls " $2 " of " by[$2] ".c, whose section stands below its own"; bad = 1
	}
	END { exit bad }' "$levels" - && echo "layers are in order"
