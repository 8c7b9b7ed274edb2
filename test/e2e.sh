#!/bin/bash
# End-to-end tests on a real PostgreSQL with PgQ.
#
#	test/e2e.sh [FILE[:CASE]]...
#
# FILE is a file of test/e2e (SUITES names other folders of test) or a part of its name. Starts one throw-away cluster, runs four files
# at a time (JOBS=N), prints a line a case and at the end "N passed, N failed". TDISPATCH names
# the program, else ./tdispatch-dev or ./tdispatch; KEEP=1 leaves the folder of the cluster; TIMES=1
# tells how long each file took, and the slowest cases.

TOP=$(cd "$(dirname "$0")/.." && pwd) || exit 2
. "$TOP/test/cluster.sh"

has_sanitizers() {
	grep -qa __asan_init "$1"
}

# STATIC is for what sanitizers stand in the way of: strace, and limits of memory and time.
pick_program() {
	local name
	for name in "${TDISPATCH:-}" "$TOP/tdispatch-dev" "$TOP/tdispatch"; do
		[ -n "$name" ] && [ -x "$name" ] || continue
		TDISPATCH=$(readlink -f "$name")
		break
	done
	[ -x "${TDISPATCH:-}" ] || die "no program to test: run make dev"
	[ -n "${STATIC:-}" ] || STATIC=$TDISPATCH
	! has_sanitizers "$STATIC" || [ ! -x "$TOP/tdispatch" ] || STATIC=$TOP/tdispatch
	export TDISPATCH STATIC TOP
}

# Prints the cases of a file that are asked for: nothing, all, or their names.
pick_cases() {
	local file=$1 want cases=
	shift
	[ $# != 0 ] || cases=all
	for want; do
		[[ $(basename "$file") == *"$(basename "${want%%:*}")"* ]] || continue
		[[ $want == *:* ]] && cases+=" ${want#*:}" || cases+=" all"
	done
	say "$cases"
}

# All files, those in parts first, which are the longest. The short ones are the first by name, so
# these come last.
all_files() {
	local suite
	for suite in ${SUITES:-e2e}; do
		ls -r "$TOP/test/$suite"/[0-9][0-9]_*.sh | xargs grep -l '^# Parts: '
		ls -r "$TOP/test/$suite"/[0-9][0-9]_*.sh | xargs grep -L '^# Parts: '
	done
}

# A line for each file that is asked for, with its cases, or for each part of a file that says
# "# Parts: N": so many shares of its cases may run at a time.
pick_files() {
	local file cases parts part
	for file in $(all_files); do
		cases=$(pick_cases "$file" "$@")
		parts=$(sed -n 's/^# Parts: //p' "$file")
		if [ "$cases" = all ] && [ -n "$parts" ]; then
			for ((part = 1; part <= parts; part++)); do say "$file $part/$parts"; done
		elif [ -n "$cases" ]; then
			say "$file $cases"
		fi
	done
}

end() {
	trap - EXIT
	[ -z "$RUNNER" ] || kill -- "-$RUNNER" 2>/dev/null
	if [ -n "${KEEP:-}" ]; then
		cluster_ctl stop -m immediate
		say "left: $CLUSTER"
	else
		cluster_stop
	fi
}

# What files cost is half of the server's time.
start_cluster() {
	export IN_MEMORY=${IN_MEMORY-1}
	cluster_start
	cluster_templates
	mkdir "$CLUSTER/work"
	sql postgres <<<"create role reporting"
}

run_files() {
	pick_files "$@" | xargs -P "${JOBS:-4}" -L 1 bash 2>&1
}

times() {
	say "seconds by file:"
	awk '{ ms[$2] += $1 } END { for (file in ms) printf "%8.1f %s\n", ms[file] / 1000, file }' "$1" | sort -rn
	say "seconds by case:"
	sort -rn "$1" | head -n 40 | awk '{ printf "%8.1f %s %s\n", $1 / 1000, $2, $3 }'
}

# A file that ends without a word is no success.
summary() {
	local passed failed skipped
	skipped=$(grep -c '^ok .* # skipped' "$1")
	passed=$(($(grep -c '^ok ' "$1") - skipped))
	failed=$(grep -vc '^ok ' "$1")
	say "$passed passed, $failed failed$([ "$skipped" = 0 ] || say ", $skipped skipped")"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

main() {
	pick_program
	[ -n "$(pick_files "$@")" ] || die "no such file in test/${SUITES:-e2e}: $*"
	RUNNER=
	trap end EXIT
	trap 'exit 130' INT TERM
	start_cluster
	set -m
	{ run_files "$@" | tee "$CLUSTER/lines"; } &
	RUNNER=$!
	set +m
	wait "$RUNNER"
	RUNNER=
	[ -z "${TIMES:-}" ] || times "$CLUSTER/times"
	summary "$CLUSTER/lines"
}

main "$@"
