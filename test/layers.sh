#!/bin/sh
# Proves from the object files that a file calls only files of a lower level.
#
#   test/layers.sh OBJECT...
#
# The levels are those of tdispatch.h, from log.c up to tdispatch.c.
set -eu

level() {
	case $1 in
	text) echo -1 ;;
	log | embed) echo 0 ;;
	buf) echo 1 ;;
	ini | urlenc | completion | daemon | period | template | tally | file | notify) echo 2 ;;
	values | route | pq | progress | state | metrics) echo 3 ;;
	conf | sink | part | queue | position | report) echo 4 ;;
	lanes | dead | retain) echo 5 ;;
	pass | job) echo 6 ;;
	verify) echo 7 ;;
	batch | replay | dryrun | admin | check | status) echo 8 ;;
	tdispatch) echo 9 ;;
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
