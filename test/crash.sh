#!/bin/bash
# make crash-test: kill -9 at every message that tdispatch sends, then at random moments under load.
#
#	test/crash.sh           everything; writes test/CRASH.md
#	test/crash.sh short     every eleventh message, 10 random kills: for make test
#
# Fails when a row is lost or doubled.

cd "$(dirname "$0")/.." || exit 2
. test/cluster.sh

kill_matrix() {
	SUITES=crash TDISPATCH=$PWD/tdispatch test/e2e.sh
}

versions() {
	local bin
	bin=$(find_pgbin) || return
	say "$(date -u +%Y-%m-%d), commit $COMMIT, $(./tdispatch --version), PostgreSQL $("$bin/postgres" --version | cut -d ' ' -f 3)," \
		"PgQ $(sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$("$bin/pg_config" --sharedir)/extension/pgq.control")"
}

# The lines of the run in the order of the cases.
in_order() {
	local name
	for name in $(sed -n 's/^case_\([a-z0-9_]*\)().*/\1/p' test/crash/[0-9]*.sh); do
		grep -E "^(not )?ok [0-9a-z_]+ $name([: ]|$)" build/crash.log
	done
}

# These lines, see verdict in test/crash/oracle.sh, as rows of a table.
rows() {
	in_order | sed -nE 's/^(not )?ok [0-9a-z_]+ //; T
		:name; s/^([^_:#]*)_/\1 /; t name
		s/^([^:#]*): ([0-9]+) kill points, ([0-9]+) restarts, ([0-9]+) lost, ([0-9]+) doubled *(\((.*)\))?.*$/| \1 | \2 | \3 | \4 | \5 | \7 |/; t print
		s/^([^:#]*)[:#] *(.*)$/| \1 | | | | | \2 |/
		:print
		p'
}

report() {
	cat <<-END
		# Killed at every message

		$(versions). Written by \`make crash-test\`, which fails when a row is lost or doubled.

		The static binary, as it is, gets SIGKILL when it sends its 1st, 2nd, 3rd ... message to a server, until a run survives. Each kill
		point has a consumer and a target of its own and a batch of some dozens of rows for three partitions. After the kill the same
		command is run again. Then every row of the source must be in its partition once, where no constraint would refuse a second one.

		- \`two lanes at every wait\`: killed when it begins to wait, so that the answer to what it sent is under way.
		- \`two lanes half committed\`, \`not finished\`: a first kill came between the commits of the two lanes, or between the commit
		  and \`finish_batch\`; the kill points are those of the next run.
		- \`random kills under load\`: source and target are two servers, rows and ticks come all the time. Every second kill hits the program,
		  the others in turn a process of the source (kill -9: the whole server recovers), one of the target, and each
		  server (\`pg_ctl restart -m immediate\`).

		| mode | kill points | restarts | rows lost | rows doubled | |
		| --- | ---: | ---: | ---: | ---: | --- |
		$(rows)
	END
}

main() {
	[ -x tdispatch ] || die "no program to kill: run make"
	test/install.sh --tests || exit 2
	if [ "${1:-}" = short ]; then
		STEP=11 KILLS=10 kill_matrix
		exit
	fi
	COMMIT=$(test/commit.sh)
	kill_matrix | tee build/crash.log
	[ "${PIPESTATUS[0]}" = 0 ] || FAILED=1
	report >test/CRASH.md
	say "written: test/CRASH.md"
	exit "${FAILED:-0}"
}

main "$@"
