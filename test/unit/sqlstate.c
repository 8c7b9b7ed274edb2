/* Tests of sqlstate.c: what each kind of error is followed by, by what it answers. */
#include "../../base/buf.c"
#include "../../pg/sqlstate.c"
#include "unit.h"

/* In the order of enum sqlstate_answers. */
#define ASKED 5

static const char *name_of(int code)
{
	static const char *const names[] = { "done", "conn", "resource", "rights", "readonly",
		"timeout", "conflict", "data", "shape", "position", "conf", "stop", "other" };

	return names[-code];
}

static void test_kinds(void)
{
	static const struct { const char *state, *wanted; } cases[] = {
		/* connect, statement, create, copy, rows */
		{ "08006", "conn conn conn conn conn" },
		{ "57P01", "conn conn conn conn conn" },
		{ "57P03", "conn conn conn conn conn" },
		{ "57P04", "conn conn conn conn conn" },
		{ "53100", "conn resource resource resource resource" },
		{ "53200", "conn resource resource resource resource" },
		{ "53300", "conn resource resource resource resource" },
		{ "42501", "rights rights rights rights rights" },
		{ "28P01", "rights rights rights rights rights" },
		{ "3D000", "rights rights rights rights rights" },
		{ "3F000", "rights rights rights shape rights" },
		{ "25006", "readonly readonly readonly readonly readonly" },
		{ "0A000", "rights readonly shape rights rights" },
		{ "57014", "timeout timeout timeout timeout timeout" },
		{ "55P03", "timeout timeout timeout timeout timeout" },
		{ "25P03", "timeout timeout timeout timeout timeout" },
		{ "25P04", "timeout timeout timeout timeout timeout" },
		{ "40001", "conflict conflict conflict conflict conflict" },
		{ "40P01", "conflict conflict conflict conflict conflict" },
		{ "42P07", "rights conflict conflict rights conflict" },
		{ "42710", "rights shape conflict rights shape" },
		{ "58030", "other other other other other" },
		{ "XX000", "other other other other other" },
		{ "XX001", "other other other other other" },
		/* the table */
		{ "42809", "rights shape shape rights shape" },
		{ "55000", "rights other shape rights rights" },
		{ "2F003", "rights other shape rights rights" },
		{ "HV00N", "rights other shape rights rights" },
		{ "25001", "rights other shape rights rights" },
		/* its columns */
		{ "42P01", "rights shape shape shape shape" },
		{ "42701", "rights shape shape shape shape" },
		{ "42703", "rights shape shape shape shape" },
		{ "42P10", "rights shape shape shape shape" },
		{ "42883", "rights shape shape rights shape" },
		/* the row, and only where rows were sent */
		{ "22P02", "rights data shape rights data" },
		{ "22021", "rights data shape data data" },
		{ "22P05", "rights data shape data data" },
		{ "22008", "rights data shape rights data" },
		{ "2200H", "rights data shape rights rights" },
		{ "23502", "rights data shape rights data" },
		{ "23505", "rights data shape rights data" },
		{ "23514", "rights data shape rights data" },
		{ "20000", "rights other shape rights data" },
		{ "21000", "rights data shape rights data" },
		{ "2F005", "rights other shape rights data" },
		{ "38000", "rights other shape rights data" },
		{ "44000", "rights data shape rights data" },
		{ "54000", "rights other shape rights data" },
		{ "54001", "rights other shape rights data" },
		{ "P0001", "rights data shape rights data" },
		{ "P0004", "rights data shape rights data" },
		/* codes of triggers' own */
		{ "U0001", "rights other shape rights data" },
		{ "45000", "rights other shape rights data" },
		{ "99999", "rights other shape rights data" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct sqlstate_error error = { cases[i].state, "", "", "" };
		struct buf got = { 0 };
		for (int to = 0; to < ASKED; to++)
			buf_fmt(&got, "%s%s", to ? " " : "",
				name_of(sqlstate_judge(&error, (enum sqlstate_answers)to)));
		check_buf("", span_of(cases[i].state), &got, cases[i].wanted);
		buf_free(&got);
	}
}

static void test_words(void)
{
	static const struct { struct sqlstate_error error; enum sqlstate_answers to;
		const char *wanted; } cases[] = {
		{ { "XX000", "tuple concurrently updated", "", "simple_heap_update" },
			SQLSTATE_CREATE, "conflict" },
		{ { "XX000", "tuple concurrently deleted", "", "simple_heap_delete" },
			SQLSTATE_CREATE, "conflict" },
		{ { "XX000", "cache lookup failed for relation 16385", "", "" }, SQLSTATE_CREATE,
			"conflict" },
		{ { "XX000", "could not open relation with OID 16385", "", "" }, SQLSTATE_CREATE,
			"conflict" },
		{ { "XX000", "tuple concurrently updated", "", "" }, SQLSTATE_ROWS, "other" },
		{ { "P0001", "tuple concurrently updated", "", "" }, SQLSTATE_CREATE, "shape" },
		{ { "23505", "duplicate key", "pg_catalog", "_bt_check_unique" }, SQLSTATE_CREATE,
			"conflict" },
		{ { "23505", "duplicate key", "pg_catalog", "_bt_check_unique" }, SQLSTATE_ROWS,
			"conflict" },
		{ { "23505", "duplicate key", "public", "_bt_check_unique" }, SQLSTATE_ROWS,
			"data" },
		{ { "54000", "database is not accepting commands", "", "GetNewTransactionId" },
			SQLSTATE_ROWS, "rights" },
		{ { "54000", "database is not accepting commands", "", "GetNewTransactionId" },
			SQLSTATE_STATEMENT, "rights" },
		{ { "54000", "database is not accepting commands", "", "GetNewMultiXactId" },
			SQLSTATE_ROWS, "rights" },
		{ { "XX000", "cannot assign TransactionIds during recovery", "",
			"GetNewTransactionId" }, SQLSTATE_ROWS, "readonly" },
		{ { "54000", "index row size 2728 exceeds maximum", "", "_bt_check_third_page" },
			SQLSTATE_ROWS, "data" },
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		check_str(cases[i].error.message,
			name_of(sqlstate_judge(&cases[i].error, cases[i].to)), cases[i].wanted);
}

static void test_predicates(void)
{
	static const struct {
		enum sqlstate_name name;
		const char *is[2], *is_not;
	} cases[] = {
		{ SQLSTATE_DENIED, { "42501" }, "" },
		{ SQLSTATE_NO_TABLE, { "42P01" }, "42703" },
		{ SQLSTATE_NO_COLUMN, { "42703" }, "42P01" },
		{ SQLSTATE_TAKEN, { "42P07", "42710" }, "23505" },
		{ SQLSTATE_LOCKED, { "55P03" }, "55006" },
		{ SQLSTATE_DUPLICATE, { "23505" }, "23503" },
		{ SQLSTATE_RAISED, { "P0001" }, "P0002" },
		{ SQLSTATE_TOO_MUCH, { "53200" }, "53100" },
		{ SQLSTATE_BAD_VALUE, { "22023", "22P02" }, "23505" },
		{ SQLSTATE_BAD_DATE, { "22007", "22008" }, "22P02" },
		{ SQLSTATE_BAD_TEXT, { "22P02" }, "" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (size_t k = 0; k < 2 && cases[i].is[k]; k++)
			check_int(cases[i].is[k], sqlstate_is(cases[i].is[k], cases[i].name), true);
		check_int(cases[i].is[0], sqlstate_is(cases[i].is_not, cases[i].name), false);
	}
	check_int("lost",
		sqlstate_is_lost(&(struct err){ .code = ERR_CONN, .sqlstate = "57P01" }) &&
		sqlstate_is_lost(&(struct err){ .code = ERR_RESOURCE }) &&
		!sqlstate_is_lost(&(struct err){ .code = ERR_RESOURCE, .sqlstate = "53200" }) &&
		!sqlstate_is_lost(&(struct err){ .code = ERR_SHAPE }), true);
	check_str("lock", sqlstate_setting("55P03"), "who holds the lock, and lock_timeout");
	check_str("deadlock", sqlstate_setting("40P01"), NULL);
}

int main(void)
{
	test_kinds();
	test_words();
	test_predicates();
	return unit_end();
}
