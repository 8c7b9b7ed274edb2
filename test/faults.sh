#!/bin/bash
# make fault-test: all that can go wrong, made to happen; some minutes, best as root. Runs the
# tests that test/faults/rows.txt names, and writes what happened to test/FAULTS.md.
#
#	test/faults.sh [WORD]	only rows in which WORD stands, to standard output

cd "$(dirname "$0")/.." || exit 1
LOG=build/test/faults.log

rows() {
	grep -v '^#' test/faults/rows.txt
}

# The tests of the rows on standard input, each once.
tests_of() {
	sed -n 's/^  \([0-9][0-9]:.*\)/\1/p' | tr ' ' '\n' | grep -v / | sort -u
}

# verdict FILE:CASE: what the run's line says of it.
verdict() {
	local line
	line=$(grep -Em 1 "^(not )?ok ${1%:*}_[a-z_]* ${1#*:}( |:|$)" "$LOG")
	case $line in
	"ok "*" # skipped"*) echo "SKIP${line#*# skipped}" ;;
	"ok "*) echo "PASS$(sed -n "s/^ok [^ ]* ${1#*:}: /: /p" <<<"$line" | tr '|' '/')" ;;
	"not ok "*) echo "FAIL: $(sed "s/^not ok [^ ]* ${1#*:}: //" <<<"$line" | tr '|' '/' | cut -c 1-200)" ;;
	*) echo "FAIL: it did not run" ;;
	esac
}

# verdicts TEST...: one line of a table's cell for each.
verdicts() {
	local test
	for test; do
		case $test in
		*/*) printf 'see %s<br>' "$test" ;;
		*) printf '%s %s: %s<br>' "${test%:*}" "${test#*:}" "$(verdict "$test")" ;;
		esac
	done
}

table() {
	local line name how
	while IFS= read -r line; do
		case $line in
		"= "*) printf '\n## %s\n\n| what | how it is made to happen | what came of it, by test |\n| --- | --- | --- |\n' "${line#= }" ;;
		"  "[0-9][0-9]:*) printf '| %s | %s | %s |\n' "$name" "$how" "$(verdicts $line | sed 's/<br>$//')" ;;
		"  "*) how=${line#  } ;;
		?*) name=$line ;;
		esac
	done
}

page() {
	cat <<-END
		# Faults, made to happen

		Written by \`make fault-test\` on $(date -u +%F) at commit $COMMIT, $(uname -sr), $(nproc) processors, PostgreSQL $(. test/cluster.sh; "$(find_pgbin)/pg_config" --version | sed 's/[^0-9]*\([0-9.]*\).*/\1/').
		$(grep -E '^[0-9]+ passed' "$LOG" | tail -n 1). A test is named by the number of its file in test/e2e or test/faults and its case.
		Where rows move, they are counted at the end: every one of the source is in the target, and none is there twice.
	END
	rows | table
}

# The paragraphs of rows in which the word stands.
rows_with() {
	rows | awk -v word="$1" '/^= / { next } /^[^ ]/ { block = "" } { block = block $0 "\n" } /^  [0-9][0-9]:/ && index(block, word) { printf "%s", block }'
}

test/install.sh --tests || exit 1
mkdir -p build/test
if [ $# != 0 ]; then
	chosen=$(rows_with "$1")
else
	chosen=$(rows)
fi
tests=$(tests_of <<<"$chosen")
[ -n "$tests" ] || { echo "no row of test/faults/rows.txt has the word $1"; exit 2; }
COMMIT=$(test/commit.sh)
SUITES="e2e faults" test/e2e.sh $tests | tee "$LOG"
code=${PIPESTATUS[0]}
if [ $# != 0 ]; then
	table <<<"$chosen"
else
	page >test/FAULTS.md
fi
exit "$code"
