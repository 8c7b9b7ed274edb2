#!/bin/sh
# Proves from the object files that a file calls only files of a lower level.
#
#   test/layers.sh OBJECT...
#
# The levels are those of tdispatch.h, from file.c up to tdispatch.c.
set -eu

level() {
	case $1 in
	text | relro | file | syslog | embed) echo 0 ;;
	log) echo 1 ;;
	buf) echo 2 ;;
	ini | urlenc | completion | daemon | period | template | tally | whole | notify | conninfo) echo 3 ;;
	values | route | binary | pq | progress | state | metrics) echo 4 ;;
	connect | copy | conf | report | switches | finding) echo 5 ;;
	sink | part | dest | queue | position) echo 6 ;;
	lanes | dead | retain | checkdest) echo 7 ;;
	pass | job) echo 8 ;;
	verify) echo 9 ;;
	batch | replay | dryrun | admin | check | status) echo 10 ;;
	tdispatch) echo 11 ;;
	*) echo "$1: which level is it?" >&2; exit 1 ;;
	esac
}

for object; do
	name=$(basename "$object" .o)
	nm -g --defined-only "$object" | awk -v n="$name" -v l="$(level "$name")" '{ print "def", $3, n, l }'
	nm -u "$object" | awk -v n="$name" -v l="$(level "$name")" '{ print "use", $2, n, l }'
done | sort -k1,1 | awk '
	$1 == "def" { at[$2] = $4; by[$2] = $3 }
	$1 == "use" && ($2 in at) && by[$2] != $3 && at[$2] >= $4 {
		print $3 ".c (level " $4 ") calls " $2 " of " by[$2] ".c (level " at[$2] ")"; bad = 1
	}
	END { exit bad }' && echo "layers are in order"
