#!/bin/bash
# make histories: random histories of rows on a real server beside a model in SQL: test/histories.
#
#	N=10000 SEED=1 test/histories.sh    so many histories; SEED is the first world's
#	test/histories.sh short             200, for make test
#	test/mutants.sh histories           does it find faults? One at a time is put into a copy
#
# Prints what was done, and at the end "N passed, M failed". The first world with a fault is the
# last; KEEP=1 leaves the server then. JOBS=2 worlds are played at a time.
#
# WITHOUT="check kill half verify twice replay poison constraints" leaves these out, to see what else
# there is; MODES="log keep_all keep_latest" says which row_mode there are.
#
# TDISPATCH names the program, else ./tdispatch; SANITIZED one with sanitizers, which some worlds
# have, else ./tdispatch-dev if it is there.
cd "$(dirname "$0")/.." || exit 2
. test/cluster.sh

[ "${1:-}" != short ] || N=${N:-200}
[ -n "${TDISPATCH:-}" ] || TDISPATCH=$PWD/tdispatch SANITIZED=${SANITIZED:-$PWD/tdispatch-dev}
[ -x "$TDISPATCH" ] || die "no program to test: run make"
[ -x "${SANITIZED:-}" ] || SANITIZED=

end() {
	if [ -n "${KEEP:-}" ]; then
		say "left: $CLUSTER, port $PGPORT"
	else
		cluster_stop
	fi
}

trap end EXIT
trap 'exit 130' INT TERM
IN_MEMORY=1 cluster_start
cluster_templates
export TDISPATCH SANITIZED PYTHONDONTWRITEBYTECODE=1
/usr/bin/python3 test/histories/main.py "${N:-10000}" "${SEED:-$((RANDOM * 32768 + RANDOM))}"
