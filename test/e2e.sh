#!/bin/bash
# End-to-end tests on a real PostgreSQL with PgQ.
#
#	test/e2e.sh [FILE[:CASE]]...
#
# FILE is a file of test/e2e (SUITES names other folders of test) or a part of its name. Starts one throw-away cluster, runs four files
# at a time (JOBS=N), prints a line a case and at the end "N passed, N failed". TDISPATCH names
# the program, else ./tdispatch-dev or ./tdispatch; KEEP=1 leaves the folder of the cluster.

TOP=$(cd "$(dirname "$0")/.." && pwd) || exit 2
. "$TOP/test/cluster.sh"

pick_program() {
	local name
	for name in "${TDISPATCH:-}" "$TOP/tdispatch-dev" "$TOP/tdispatch"; do
		[ -n "$name" ] && [ -x "$name" ] || continue
		TDISPATCH=$(readlink -f "$name")
		break
	done
	[ -x "${TDISPATCH:-}" ] || die "no program to test: run make dev"
	[ -n "${STATIC:-}" ] || STATIC=$TDISPATCH
	[ "$STATIC" != "$TOP/tdispatch-dev" ] || [ ! -x "$TOP/tdispatch" ] || STATIC=$TOP/tdispatch
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

# A line for each file that is asked for, with its cases; the short ones are the first by name,
# so these come last.
pick_files() {
	local suite file cases
	for file in $(for suite in ${SUITES:-e2e}; do ls -r "$TOP/test/$suite"/[0-9][0-9]_*.sh; done); do
		cases=$(pick_cases "$file" "$@")
		[ -z "$cases" ] || say "$file $cases"
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

start_cluster() {
	cluster_start
	cluster_templates
	mkdir "$CLUSTER/work"
	sql postgres <<<"create role reporting"
}

run_files() {
	pick_files "$@" | xargs -P "${JOBS:-4}" -L 1 bash 2>&1
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
	summary "$CLUSTER/lines"
}

main "$@"
