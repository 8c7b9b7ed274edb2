#!/bin/bash
# Random operations on real servers against an oracle: test/model. Ends with "N passed, N failed".
#
#	test/model.sh [SECONDS [SEED]]    an hour, unless told; SEED is the first round's
#	test/model.sh short               two minutes, for make test
#
# WITHOUT="anew set_back loss" leaves operations out, to see what else there is: ops.py names them.
# TDISPATCH names the program, else ./tdispatch; SANITIZED one with sanitizers, which some of the
# processes are, else ./tdispatch-dev if it is there.
cd "$(dirname "$0")/.." || exit 2
. test/cluster.sh

[ "${1:-}" != short ] || set -- 120
[ -n "${TDISPATCH:-}" ] || TDISPATCH=$PWD/tdispatch SANITIZED=${SANITIZED:-$PWD/tdispatch-dev}
[ -x "$TDISPATCH" ] || die "no program to test: run make"
[ -x "${SANITIZED:-}" ] || SANITIZED=
PGBIN=$(find_pgbin) || die "no PostgreSQL server with the pgq extension (see test/install.sh)"
unset PGHOST PGPORT PGUSER PGDATABASE PGPASSWORD PGSERVICE PGOPTIONS PGCLIENTENCODING PGTZ PGDATESTYLE PGSSLMODE
export PGBIN TDISPATCH SANITIZED PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 test/model/main.py "${1:-3600}" "${@:2}"
