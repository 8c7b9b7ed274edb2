#!/bin/bash
# make model-test: random operations on real servers beside an oracle: test/model.
#
#	test/model.sh [SECONDS [SEED]]    an hour, unless told; SEED is the first round's
#	test/model.sh short               a minute, for make test
#	test/mutants.sh model             does it find faults? One at a time is put into a copy
#
# Prints a line a round, what was done in all, and at the end "N passed, N failed". An hour or more
# writes test/MODEL.md. A round with an anomaly is the last: its folder and databases stay.
#
# ROUNDS=N ends it after so many rounds, however long they take.
# WITHOUT="anew set_back loss" leaves operations out, to see what else there is: ops.py names them.
# TDISPATCH names the program, else ./tdispatch; SANITIZED one with sanitizers, which some of the
# processes are, else ./tdispatch-dev if it is there.
cd "$(dirname "$0")/.." || exit 2
. test/cluster.sh

[ "${1:-}" != short ] || set -- 60
[ -n "${TDISPATCH:-}" ] || TDISPATCH=$PWD/tdispatch SANITIZED=${SANITIZED:-$PWD/tdispatch-dev}
[ -x "$TDISPATCH" ] || die "no program to test: run make"
[ -x "${SANITIZED:-}" ] || SANITIZED=
PGBIN=$(find_pgbin) || die "no PostgreSQL server with the pgq extension (see test/install.sh)"
unset PGHOST PGPORT PGUSER PGDATABASE PGPASSWORD PGSERVICE PGOPTIONS PGCLIENTENCODING PGTZ PGDATESTYLE PGSSLMODE
export PGBIN TDISPATCH SANITIZED PYTHONDONTWRITEBYTECODE=1

SECONDS_OF_RUN=${1:-3600} SEED=${2:-$(($(date +%s) % 1000000))} REPORT=
if [ "$SECONDS_OF_RUN" -ge 3600 ]; then
	REPORT=test/MODEL.md
	HEAD="$(date -u +%Y-%m-%d), commit $(test/commit.sh), $("$TDISPATCH" --version)"
	HEAD+=", PostgreSQL $("$PGBIN/postgres" --version | cut -d ' ' -f 3)"
	export HEAD
fi
exec /usr/bin/python3 test/model/main.py "$SECONDS_OF_RUN" "$SEED" $REPORT
