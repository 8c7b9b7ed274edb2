# The words of part_template, filled in with hostile names: the server is the judge.
. "$(dirname "$0")/../cases.sh"

# JUDGE_TEXTS=100000 for more.
case_no_name_changes_a_statement() {
	local seed
	command -v gcc >/dev/null || skip "no gcc"
	gcc -std=c11 -D_GNU_SOURCE -O1 -I"$(pg_config --includedir)" -o judge "$TOP"/test/fuzz/judge.c \
		"$TOP"/event/{sql,template,nesting}.c "$TOP"/base/{buf,text,log,file}.c -lpq
	createdb "$CASE"
	sql "$CASE" <<<"create table victim (x int)"
	for seed in ${JUDGE_SEED:-1 16718 $RANDOM $RANDOM}; do
		LIMIT=300 expect_exit 0 ./judge "dbname=$CASE" "${JUDGE_TEXTS:-6000}" "$seed"
		expect_eq "$(sql "$CASE" <<<"select to_regclass('victim')")" victim
		told "seed $seed: $(tail -n 1 out)"
	done
}

# refuses REGEX TEMPLATE: when the config is read.
refuses() {
	expect_exit 2 "$TDISPATCH" --once job.ini --set "part_template=$2"
	expect_match err "$1"
}

case_quoted_twice() {
	orders_pair
	dst "create table victim (x int)"
	event "I:x'; drop table victim; --" 'id=1&day=2026-01-31&note=x' >/dev/null
	tick q
	refuses 'line 2: _PKEY is quoted inside of a string.*\$q\$' "$PARTITION_OF
		do \$\$ begin execute 'comment on table _DEST_TABLE is ''key: _PKEY'''; end \$\$;"
	refuses '_DEST_TABLE is quoted' "do \$\$ begin execute 'create index \"_DEST_TABLE i\" on x (id)'; end \$\$;"
	refuses '_PKEY is in a string' "do \$\$ begin execute 'comment on table _DEST_TABLE is ''' || '_PKEY' || ''''; end \$\$;"
	refuses '_PKEY is in a string' "do \$\$ begin execute format('comment on table _DEST_TABLE is ''%%s''', '_PKEY'); end \$\$;"
	refuses "cannot be filled into" "comment on table x is U&'_PKEY'"
	refuses "must stay on" "set standard_conforming_strings = off; $PARTITION_OF"
	once --set "part_template=$PARTITION_OF do \$\$ begin execute \$q\$comment on table _DEST_TABLE is 'key: _PKEY'\$q\$; end \$\$"
	expect_eq "$(dst "select obj_description('orders_2026_01_31'::regclass)")" "key: \"x'; drop table victim; --\""
	expect_eq "$(dst "select to_regclass('victim')")" victim
}

# An E string goes on in the next line, as one.
case_pieces_of_a_string() {
	orders_pair "part_template=$PARTITION_OF
		comment on table _DEST_TABLE is E'it\\'s\\n'  -- it's the key
			'key: _PKEY';"
	dst "create table victim (x int)"
	event "I:x\\'; drop table victim; --" 'id=1&day=2026-01-31&note=x' >/dev/null
	tick q
	once
	expect_eq "$(dst "select obj_description('orders_2026_01_31'::regclass)")" "it's
key: \"x\\'; drop table victim; --\""
	expect_eq "$(dst "select to_regclass('victim')")" victim
}

# Between the quotes of a text that is no SQL, doubling changes a name; where it is, it does not.
case_quotes_in_a_value() {
	local name='or"ders_2026_01_31' value
	orders_pair 'dest_table=or"ders'
	dst 'create table "or""ders" (like orders) partition by range (day)'
	orders 1 1
	tick q
	for value in '$q$the "log _DEST_TABLE "$q$' '$q$12 " log of _DEST_TABLE$q$'; do
		refuses 'a name that holds a quote would be changed' "$PARTITION_OF comment on table _DEST_TABLE is $value"
	done
	once --set "part_template=$PARTITION_OF comment on table _DEST_TABLE is \$q\$it's the log\$q\$;
		do \$\$ begin execute \$q\$create index \"i _DEST_TABLE\" on _DEST_TABLE (id)\$q\$; end \$\$"
	expect_eq "$(dst "select relname from pg_class where relname like 'i %'")" "i $name"
	refuses '_PKEY is in a string, and a comment' "do \$b\$ begin execute \$q\$--\$q\$ || \$q\$ _PKEY key\$q\$; end \$b\$"
}

run_cases
