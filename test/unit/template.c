/* Tests of template.c: the words of part_template, each quoted for the place where it stands. */
#include "../../base/buf.c"
#include "../../event/sql.c"
#include "../../event/template.c"
#include "unit.h"

#define A50 "abcdefghijklmnopqrstuvwxyz_0123456789_abcdefghijkl"
#define A63 A50 "mnopqrstuvwxy"

static const struct span id[] = { TEXT("id") }, two[] = { TEXT("id"), TEXT("day") },
	odd[] = { TEXT("I\"d"), TEXT("user"), TEXT("x'; drop table y; --") },
	dollars[] = { TEXT("a$$b"), TEXT("$b$") }, too_long[] = { TEXT(A63 "z") };

enum set {
	PLAIN, SCHEMA, ODD, DOTS, APOSTROPHE, BACKSLASH, DOLLAR, TAG, UTF8, BARE, LONG,
	TOO_LONG, NSETS
};

/* The fields: schema, parent, part, pkey and its number, part_field, start, end. */
static const struct template_words sets[NSETS] = {
	[PLAIN] = { TEXT(""), TEXT("orders"), TEXT("orders_2026"), id, 1, TEXT("day"),
		TEXT("2026-01-01"), TEXT("2027-01-01") },
	[SCHEMA] = { TEXT("app"), TEXT("orders"), TEXT("orders_2026"), two, 2, TEXT("order"),
		TEXT("2026-01-01 00:00:00+02:00"), TEXT("2027-01-01 00:00:00+02:00") },
	[ODD] = { TEXT("My App"), TEXT("Or\"d"), TEXT("Or\"d_2026"), odd, 3, TEXT("Day's"),
		TEXT("2026-01-01"), TEXT("2027-01-01") },
	[DOTS] = { TEXT("my.app"), TEXT("or.ders"), TEXT("or.ders_2026"), id, 1, TEXT("d.ay"),
		TEXT("2026-01-01"), TEXT("2027-01-01") },
	[APOSTROPHE] = { TEXT("s'"), TEXT("o'b"), TEXT("o'b_2026"), id, 1, TEXT("d'"),
		TEXT("2026-01-01"), TEXT("2027-01-01") },
	[BACKSLASH] = { TEXT(""), TEXT("o\\"), TEXT("o\\_2026"), id, 1, TEXT("d\\'"),
		TEXT("2026-01-01"), TEXT("2027-01-01") },
	[DOLLAR] = { TEXT(""), TEXT("o$$"), TEXT("o$$_2026"), dollars, 2, TEXT("$"),
		TEXT("2026-01-01"), TEXT("2027-01-01") },
	[TAG] = { TEXT(""), TEXT("$b$o"), TEXT("$b$o_2026"), dollars, 2, TEXT("day"),
		TEXT("2026-01-01"), TEXT("2027-01-01") },
	[UTF8] = { TEXT(""), TEXT("gr\xc3\xb6"), TEXT("gr\xc3\xb6_2026"), id, 1, TEXT("day"),
		TEXT("2026-01-01"), TEXT("2027-01-01") },
	[BARE] = { TEXT(""), TEXT("orders"), TEXT("orders_2026"), NULL, 0,
		{ NULL, 0 }, { NULL, 0 }, { NULL, 0 } },
	[LONG] = { TEXT("abcdefghij"), TEXT(A50), TEXT(A50 "_2026"), id, 1, TEXT(A63),
		TEXT("2026-01-01"), TEXT("2027-01-01") },
	[TOO_LONG] = { TEXT(""), TEXT(A63 "x"), TEXT(A63 "y"), too_long, 1, TEXT(A63 "v"),
		TEXT("2026-01-01"), TEXT("2027-01-01") },
};

static const char *const set_name[NSETS] = {
	[PLAIN] = "plain", [SCHEMA] = "schema", [ODD] = "odd", [DOTS] = "dots",
	[APOSTROPHE] = "apostrophe", [BACKSLASH] = "backslash", [DOLLAR] = "dollar", [TAG] = "tag",
	[UTF8] = "utf8", [BARE] = "bare", [LONG] = "long", [TOO_LONG] = "too long",
};

static const struct { enum set set; const char *text, *wanted; } cases[] = {
	/* nothing to replace */
	{ PLAIN, "", "" },
	{ PLAIN, "select 1;", "select 1;" },
	{ PLAIN, "_dest_table DEST_TABLE _DEST _Parent _PKE _PART __ _", "_dest_table DEST_TABLE"
		" _DEST _Parent _PKE _PART __ _" },
	{ BARE, "create table x (id int)", "create table x (id int)" },

	/* each word alone */
	{ PLAIN, "_DEST_TABLE", "orders_2026" },
	{ SCHEMA, "_DEST_TABLE", "app.orders_2026" },
	{ ODD, "_DEST_TABLE", "\"My App\".\"Or\"\"d_2026\"" },
	{ DOTS, "_DEST_TABLE", "\"my.app\".\"or.ders_2026\"" },
	{ UTF8, "_DEST_TABLE", "\"gr\xc3\xb6_2026\"" },
	{ PLAIN, "_PARENT", "orders" },
	{ SCHEMA, "_PARENT", "app.orders" },
	{ ODD, "_PARENT", "\"My App\".\"Or\"\"d\"" },
	{ PLAIN, "_SCHEMA_TABLE", "orders_2026" },
	{ SCHEMA, "_SCHEMA_TABLE", "app_orders_2026" },
	{ ODD, "_SCHEMA_TABLE", "\"My App_Or\"\"d_2026\"" },
	{ DOTS, "_SCHEMA_TABLE", "my_app_or_ders_2026" },
	{ PLAIN, "_PKEY", "id" },
	{ SCHEMA, "(_PKEY)", "(id, day)" },
	{ ODD, "_PKEY", "\"I\"\"d\", \"user\", \"x'; drop table y; --\"" },
	{ PLAIN, "_PART_FIELD", "day" },
	{ SCHEMA, "_PART_FIELD", "\"order\"" },
	{ ODD, "_PART_FIELD", "\"Day's\"" },
	{ PLAIN, "(_PART_FIELD >= _PART_START and _PART_FIELD < _PART_END)", "(day >= '2026-01-01'"
		" and day < '2027-01-01')" },
	{ SCHEMA, "FROM (_PART_START) TO (_PART_END)",
		"FROM ('2026-01-01 00:00:00+02:00') TO ('2027-01-01 00:00:00+02:00')" },

	/* what may stand beside a word */
	{ PLAIN, "(_DEST_TABLE)", "(orders_2026)" },
	{ PLAIN, "_DEST_TABLE;_PARENT,_PKEY", "orders_2026;orders,id" },
	{ SCHEMA, "_PARENT.*", "app.orders.*" },
	{ PLAIN, "x=_PART_START::date", "x='2026-01-01'::date" },
	{ PLAIN, "_DEST_TABLE\n\t_PARENT\n", "orders_2026\n\torders\n" },
	{ PLAIN, "_DEST_TABLE-_PARENT/_PKEY*_PKEY", "orders_2026-orders/id*id" },

	/* joined identifiers */
	{ PLAIN, "_DEST_TABLE_pkey", "orders_2026_pkey" },
	{ SCHEMA, "_DEST_TABLE_pkey", "orders_2026_pkey" },
	{ ODD, "_DEST_TABLE_pkey", "\"Or\"\"d_2026_pkey\"" },
	{ DOTS, "_DEST_TABLE_pkey", "\"or.ders_2026_pkey\"" },
	{ APOSTROPHE, "_DEST_TABLE_pkey", "\"o'b_2026_pkey\"" },
	{ SCHEMA, "idx_SCHEMA_TABLE_x", "idxapp_orders_2026_x" },
	{ DOTS, "idx_SCHEMA_TABLE_x", "idxmy_app_or_ders_2026_x" },
	{ ODD, "idx_SCHEMA_TABLE", "\"idxMy App_Or\"\"d_2026\"" },
	{ SCHEMA, "_PARENT_check", "orders_check" },
	{ SCHEMA, "_DEST_TABLE_PART_FIELD_idx", "orders_2026order_idx" },
	{ SCHEMA, "_DEST_TABLE_PARENT", "orders_2026orders" },
	{ SCHEMA, "x__DEST_TABLE", "x_orders_2026" },
	{ PLAIN, "1_DEST_TABLE", "\"1orders_2026\"" },
	{ PLAIN, "_DEST_TABLE$x", "\"orders_2026$x\"" },
	{ PLAIN, "_DEST_TABLE\xc3\xb6", "\"orders_2026\xc3\xb6\"" },
	{ SCHEMA, "constraint _DEST_TABLE_chk check (a)", "constraint orders_2026_chk check (a)" },
	{ SCHEMA, "s._DEST_TABLE_i", "s.orders_2026_i" },
	/* without quotes SQL reads letters as small ones: the template's own stay so */
	{ PLAIN, "IDX_SCHEMA_TABLE_A", "idxorders_2026_a" },
	{ ODD, "Idx_DEST_TABLE_Pk", "\"idxOr\"\"d_2026_pk\"" },
	/* a list and a literal are no part of a name */
	{ PLAIN, "x_PKEY", "!conf" },
	{ PLAIN, "_PKEYS", "!conf" },
	{ PLAIN, "_DEST_TABLE_PKEY", "!conf" },
	{ PLAIN, "_PART_STARTS", "!conf" },
	{ PLAIN, "x_PART_END", "!conf" },

	/* strings */
	{ PLAIN, "'_DEST_TABLE'", "'orders_2026'" },
	{ SCHEMA, "'_DEST_TABLE'::regclass", "'app.orders_2026'::regclass" },
	{ SCHEMA, "comment on table _DEST_TABLE is 'rows of _PARENT, key (_PKEY)'",
		"comment on table app.orders_2026 is 'rows of app.orders, key (id, day)'" },
	{ ODD, "'_DEST_TABLE'", "'\"My App\".\"Or\"\"d_2026\"'" },
	{ APOSTROPHE, "'_DEST_TABLE'", "'\"s''\".\"o''b_2026\"'" },
	{ APOSTROPHE, "'_DEST_TABLE_x'", "'\"o''b_2026_x\"'" },
	{ BACKSLASH, "'_DEST_TABLE'", "'\"o\\_2026\"'" },
	{ ODD, "'_PKEY'", "'\"I\"\"d\", \"user\", \"x''; drop table y; --\"'" },
	{ PLAIN, "'check (a < _PART_END)'", "'check (a < ''2027-01-01'')'" },
	{ APOSTROPHE, "'it''s _PARENT''s' _PARENT", "'it''s \"s''\".\"o''b\"''s' \"s'\".\"o'b\"" },
	{ PLAIN, "''_DEST_TABLE''", "'' orders_2026 ''" },
	{ ODD, "_PARENT\"x\"", "\"My App\".\"Or\"\"d\" \"x\"" },
	{ ODD, "\"x\"_PARENT", "\"x\" \"My App\".\"Or\"\"d\"" },
	{ PLAIN, "'a\\'_PARENT", "'a\\' orders" },
	{ PLAIN, "-- _PARENT\r_PARENT", "-- _PARENT\rorders" },
	{ PLAIN, "'-- ' _PARENT '/*' _PARENT '$$' _PARENT '\"' _PARENT", "'-- ' orders '/*' orders"
		" '$$' orders '\"' orders" },
	{ PLAIN, "'", "'" },
	{ APOSTROPHE, "'_PARENT", "!conf" },
	{ PLAIN, "B'01' x'_PARENT' N'_PARENT'", "B'01' x'orders' N'orders'" },

	/* strings with escapes */
	{ PLAIN, "E'_DEST_TABLE'", "E'orders_2026'" },
	{ BACKSLASH, "E'_DEST_TABLE'", "E'\"o\\\\_2026\"'" },
	{ BACKSLASH, "e'_PART_FIELD'", "e'\"d\\\\''\"'" },
	{ BACKSLASH, "'_PART_FIELD'", "'\"d\\''\"'" },
	{ PLAIN, "E'it\\'s _PARENT' _PARENT", "E'it\\'s orders' orders" },
	{ APOSTROPHE, "E'\\\\' _PARENT", "E'\\\\' \"s'\".\"o'b\"" },
	{ PLAIN, "E'\\n_PARENT'", "E'\\norders'" },
	{ PLAIN, "E'\\", "E'\\" },
	{ BACKSLASH, "E'a''_PARENT'", "E'a''\"o\\\\\"'" },
	{ BACKSLASH, "(E'_PARENT')", "(E'\"o\\\\\"')" },
	{ BACKSLASH, "\nE'_PARENT'", "\nE'\"o\\\\\"'" },
	{ BACKSLASH, "typE'_PARENT'", "typE'\"o\\\"'" },
	{ BACKSLASH, "_E'_PARENT'", "_E'\"o\\\"'" },
	{ BACKSLASH, "E '_PARENT'", "E '\"o\\\"'" },

	/* pieces that a newline divides are one string */
	{ BACKSLASH, "E'a'\n'_PARENT'", "E'a'\n'\"o\\\\\"'" },
	{ BACKSLASH, "E'a' \t-- it's\n -- \"\n\r '_PARENT' _PARENT", "E'a' \t-- it's\n -- \"\n\r"
		" '\"o\\\\\"' \"o\\\"" },
	{ BACKSLASH, "E'a' '_PARENT'", "E'a' '\"o\\\"'" },
	{ BACKSLASH, "E'a' /*\n*/ '_PARENT'", "E'a' /*\n*/ '\"o\\\"'" },
	{ BACKSLASH, "E'a'\n E'_PARENT'", "E'a'\n E'\"o\\\\\"'" },
	{ BACKSLASH, "E'a'\n\"_PARENT\"", "E'a'\n\"o\\\"" },
	{ BACKSLASH, "'a'\n'_PARENT'", "'a'\n'\"o\\\"'" },
	{ BACKSLASH, "E'a'\n", "E'a'\n" },
	{ BACKSLASH, "U&_PARENT _PARENT&'x'", "U& \"o\\\" \"o\\\" &'x'" },

	/* quoted names */
	{ SCHEMA, "\"_DEST_TABLE\"", "\"orders_2026\"" },
	{ SCHEMA, "\"_DEST_TABLE_Pkey\"", "\"orders_2026_Pkey\"" },
	{ SCHEMA, "\"app\".\"_PARENT\"", "\"app\".\"orders\"" },
	{ SCHEMA, "\"Idx of _SCHEMA_TABLE\"", "\"Idx of app_orders_2026\"" },
	{ ODD, "\"_DEST_TABLE\"", "\"Or\"\"d_2026\"" },
	{ ODD, "\"x _DEST_TABLE_y\" _PARENT", "\"x Or\"\"d_2026_y\" \"My App\".\"Or\"\"d\"" },
	{ APOSTROPHE, "\"_DEST_TABLE\"", "\"o'b_2026\"" },
	{ ODD, "\"a\"\"_PARENT\"\"b\"", "\"a\"\"Or\"\"d\"\"b\"" },
	{ SCHEMA, "\"_PART_FIELD\"", "\"order\"" },
	{ PLAIN, "\"it's\" '_PARENT' \"--\" _PARENT \"/*\" _PARENT \"$$\" _PARENT",
		"\"it's\" 'orders' \"--\" orders \"/*\" orders \"$$\" orders" },
	{ PLAIN, "\"", "\"" },
	{ PLAIN, "\"_PKEY\"", "!conf" },
	{ PLAIN, "\"_PART_START\"", "!conf" },

	/* comments are left alone, and what is in them opens nothing */
	{ PLAIN, "-- _DEST_TABLE", "-- _DEST_TABLE" },
	{ PLAIN, "-- it's _PARENT \"\n_PARENT", "-- it's _PARENT \"\norders" },
	{ PLAIN, "_PARENT--_PARENT\n_PARENT", "orders--_PARENT\norders" },
	{ PLAIN, "_PARENT - -_PARENT", "orders - -orders" },
	{ PLAIN, "/* _PKEY */_PARENT", "/* _PKEY */orders" },
	{ PLAIN, "/* a /* it's _PKEY */ _PKEY \" $$ */ _PARENT", "/* a /* it's _PKEY */ _PKEY \" $$"
		" */ orders" },
	{ PLAIN, "/*/ _PARENT */ _PARENT", "/*/ _PARENT */ orders" },
	{ PLAIN, "/**/_PARENT/***/_PARENT", "/**/orders/***/orders" },
	{ PLAIN, "/* -- */ _PARENT", "/* -- */ orders" },
	{ PLAIN, "-- /*\n_PARENT", "-- /*\norders" },
	{ PLAIN, "/* _PARENT", "/* _PARENT" },
	{ PLAIN, "/* /* */ _PARENT", "/* /* */ _PARENT" },
	{ PLAIN, "/*", "/*" },
	{ PLAIN, "-", "-" },
	{ PLAIN, "*/_PARENT", "*/orders" },
	{ BARE, "-- _PKEY _PART_START\n_PARENT", "-- _PKEY _PART_START\norders" },

	/* dollar-quoted bodies are code */
	{ SCHEMA, "$$_DEST_TABLE$$", "$$app.orders_2026$$" },
	{ SCHEMA, "do $$ begin insert into _DEST_TABLE values ('_PARENT'); -- _PKEY it's\nend $$;"
		" _PARENT", "do $$ begin insert into app.orders_2026 values ('app.orders'); --"
		" _PKEY it's\nend $$; app.orders" },
	{ SCHEMA, "$body$ $$_PARENT$$ _PARENT $b$ $body$ _PARENT", "$body$ $$app.orders$$"
		" app.orders $b$ $body$ app.orders" },
	{ SCHEMA, "$_PARENT$ _PARENT $_PARENT$", "$_PARENT$ app.orders $_PARENT$" },
	{ SCHEMA, "$\xc3\xb6$ _PARENT $\xc3\xb6$ _PARENT", "$\xc3\xb6$ app.orders $\xc3\xb6$"
		" app.orders" },
	{ APOSTROPHE, "$$ '$$ _PARENT", "$$ '$$ \"s'\".\"o'b\"" },
	{ PLAIN, "$$ -- $$ _PARENT", "$$ -- $$ orders" },
	{ PLAIN, "$$ /* $$ _PARENT", "$$ /* $$ orders" },
	{ SCHEMA, "$$$$_PARENT", "$$$$app.orders" },
	{ SCHEMA, "$$ _PARENT", "$$ app.orders" },
	{ SCHEMA, "$a$ $$ _PARENT $b$ _PARENT $a$ '_PARENT'",
		"$a$ $$ app.orders $b$ app.orders $a$ 'app.orders'" },
	{ PLAIN, "$1 _PARENT $2", "$1 orders $2" },
	{ PLAIN, "$1$ ' $1$ _PARENT", "$1$ ' $1$ orders" },
	{ APOSTROPHE, "$1$ ' $1$ _PARENT", "!conf" },
	{ PLAIN, "a$$ _PARENT 'x' b$$", "a$$ orders 'x' b$$" },
	{ PLAIN, "$", "$" },
	{ PLAIN, "_PARENT $", "orders $" },
	{ BACKSLASH, "do $$ E'_PARENT' '_PARENT' $$", "do $$ E'\"o\\\\\"' '\"o\\\"' $$" },
	{ BACKSLASH, "$$ E'_PARENT' '_PARENT' $$", "!conf" },
	/* those that may be no SQL: there a name keeps its quotes, or is refused */
	{ APOSTROPHE, "do $$ '_PARENT' $$", "do $$ '\"s''\".\"o''b\"' $$" },
	{ APOSTROPHE, "EXECUTE\n$$ '_PARENT' $$", "EXECUTE\n$$ '\"s''\".\"o''b\"' $$" },
	{ APOSTROPHE, "do language plpgsql $$ execute $q$ '_PARENT' $q$ $$ ",
		"do language plpgsql $$ execute $q$ '\"s''\".\"o''b\"' $q$ $$ " },
	{ APOSTROPHE, "do $$ f($q$ '_PARENT' $q$) $$", "!conf" },
	{ APOSTROPHE, "do $$ f($q$ _PARENT $q$), '_PARENT' $$",
		"do $$ f($q$ \"s'\".\"o'b\" $q$), '\"s''\".\"o''b\"' $$" },
	{ APOSTROPHE, "is $$it's _PARENT$$", "!conf" },
	{ PLAIN, "is $$it's _PARENT$$", "is $$it's orders$$" },
	/* a name that would end the body */
	{ DOLLAR, "_DEST_TABLE '_DEST_TABLE' \"_DEST_TABLE\"", "\"o$$_2026\" '\"o$$_2026\"'"
		" \"o$$_2026\"" },
	{ DOLLAR, "$$_DEST_TABLE$$", "!data" },
	{ DOLLAR, "$$ '_DEST_TABLE' $$", "!data" },
	{ DOLLAR, "$$ \"_DEST_TABLE\" $$", "!data" },
	{ DOLLAR, "$$ _DEST_TABLE_x $$", "!data" },
	{ DOLLAR, "$$ _PKEY $$", "!data" },
	{ DOLLAR, "$x$ _DEST_TABLE $x$", "$x$ \"o$$_2026\" $x$" },
	{ DOLLAR, "$b$ _PKEY $b$", "!data" },
	{ DOLLAR, "$$ _PART_FIELD$$ _PARENT", "$$ \"$\"$$ \"o$$\"" },
	{ DOLLAR, "$$ -- _PARENT $$ _PARENT", "$$ -- _PARENT $$ \"o$$\"" },
	{ TAG, "$$ _PARENT $$", "$$ \"$b$o\" $$" },
	{ TAG, "$b$ _PARENT $b$", "!data" },
	{ TAG, "$a$ $b$ _PARENT $b$ $a$", "!data" },
	{ TAG, "$b$ $a$ _PARENT $a$ $b$", "!data" },

	/* what is not there */
	{ BARE, "_DEST_TABLE _PARENT _SCHEMA_TABLE _DEST_TABLE_pkey", "orders_2026 orders"
		" orders_2026 orders_2026_pkey" },
	{ BARE, "primary key (_PKEY)", "!data" },
	{ BARE, "'_PKEY'", "!data" },
	{ BARE, "$$ _PKEY $$", "!data" },
	{ BARE, "_PART_FIELD", "!conf" },
	{ BARE, "_PART_START", "!conf" },
	{ BARE, "_PART_END", "!conf" },
	{ BARE, "_PART_FIELD_x", "!conf" },
	{ BARE, "\"_PART_FIELD\"", "!conf" },

	/* names over 63 bytes */
	{ LONG, "_DEST_TABLE", "abcdefghij." A50 "_2026" },
	{ LONG, "_DEST_TABLE_1234567", A50 "_2026_1234567" },
	{ LONG, "_DEST_TABLE_12345678", "!conf" },
	{ LONG, "_SCHEMA_TABLE", "!conf" },
	{ LONG, "'_DEST_TABLE_12345678'", "!conf" },
	{ LONG, "$$ _DEST_TABLE_12345678 $$", "!conf" },
	{ LONG, "\"_DEST_TABLE_1234567\"", "\"" A50 "_2026_1234567\"" },
	{ LONG, "\"_DEST_TABLE_12345678\"", "!conf" },
	{ LONG, "\"idx _DEST_TABLE day\"", "\"idx " A50 "_2026 day\"" },
	{ LONG, "\"idx of _DEST_TABLE\"", "\"idx of " A50 "_2026\"" },
	{ LONG, "\"idx of _DEST_TABLE!\"", "\"idx of " A50 "_2026!\"" },
	{ LONG, "\"idx of _DEST_TABLE !\"", "!conf" },
	{ LONG, "\"index _DEST_TABLE day\"", "!conf" },
	{ LONG, "\"a\"\"b\"\" _DEST_TABLE d\"", "\"a\"\"b\"\" " A50 "_2026 d\"" },
	{ LONG, "\"" A63 "z\"", "\"" A63 "z\"" },
	{ LONG, "_PART_FIELD", A63 },
	{ LONG, "x_PART_FIELD", "!conf" },
	{ TOO_LONG, "_DEST_TABLE", "!conf" },
	{ TOO_LONG, "_PARENT", "!conf" },
	{ TOO_LONG, "_PART_FIELD", "!conf" },
	{ TOO_LONG, "_PKEY", "!data" },
	{ TOO_LONG, "-- _DEST_TABLE", "-- _DEST_TABLE" },

	/* the manual's sample, and a declarative partition */
	{ SCHEMA, "create table _DEST_TABLE () inherits (orders);\n"
		"alter table only _DEST_TABLE add constraint _DEST_TABLE_pkey primary key (id);\n"
		"grant select on _DEST_TABLE to group reporting;",
		"create table app.orders_2026 () inherits (orders);\n"
		"alter table only app.orders_2026 add constraint orders_2026_pkey primary key"
		" (id);\ngrant select on app.orders_2026 to group reporting;" },
	{ ODD, "create table _DEST_TABLE (like _PARENT including all, constraint _DEST_TABLE_chk\n"
		"check (_PART_FIELD >= _PART_START and _PART_FIELD < _PART_END), primary key"
		" (_PKEY));\ncreate index _SCHEMA_TABLE_day on _DEST_TABLE (_PART_FIELD);",
		"create table \"My App\".\"Or\"\"d_2026\" (like \"My App\".\"Or\"\"d\" including"
		" all, constraint \"Or\"\"d_2026_chk\"\ncheck (\"Day's\" >= '2026-01-01' and"
		" \"Day's\" < '2027-01-01'), primary key (\"I\"\"d\", \"user\", \"x'; drop table y;"
		" --\"));\ncreate index \"My App_Or\"\"d_2026_day\" on \"My App\".\"Or\"\"d_2026\""
		" (\"Day's\");" },
};

static void expand(struct buf *got, struct span text, enum set set)
{
	struct err e = { 0 };
	char *copy = unit_exact(text);
	int code = template_expand(got, (struct span){ copy, text.n }, &sets[set], &e);

	if (code != e.code)
		buf_fmt(got, " (returned %d for %d)", code, e.code);
	if (code) {
		got->len = 0;
		buf_fmt(got, "!%s", unit_err(code));
	}
	free(copy);
}

static void test_cases(void)
{
	struct buf got = { 0 };

	for (size_t i = 0; i < COUNT(cases); i++) {
		expand(&got, span_of(cases[i].text), cases[i].set);
		check_buf(set_name[cases[i].set], span_of(cases[i].text), &got, cases[i].wanted);
	}
	buf_free(&got);
}

static void test_appends(void)
{
	struct buf got = { 0 };
	struct err e = { 0 };

	buf_str(&got, "begin; ");
	template_expand(&got, span_of("_PARENT"), &sets[PLAIN], &e);
	check_buf("", span_of("appends to what is there"), &got, "begin; orders");
	buf_free(&got);
}

/* Messages name what a person has to change. */
static void test_messages(void)
{
	static const struct { enum set set; const char *text, *part; } table[] = {
		{ LONG, "_DEST_TABLE_12345678", A50 "_2026_12345678" },
		{ LONG, "_DEST_TABLE_12345678", "64" },
		{ BARE, "_PKEY", "_PKEY" },
		{ BARE, "_PART_END", "_PART_END" },
		{ BARE, "_PART_END", "part_field" },
		{ PLAIN, "x_PART_START", "_PART_START" },
		{ TAG, "$b$ _PARENT $b$", "$b$" },
	};
	struct buf got = { 0 };

	for (size_t i = 0; i < COUNT(table); i++) {
		struct err e = { 0 };
		template_expand(&got, span_of(table[i].text), &sets[table[i].set], &e);
		bool there = strstr(e.msg, table[i].part) != NULL;
		check_span("message for", span_of(table[i].text),
			span_of(there ? table[i].part : e.msg), span_of(table[i].part));
	}
	buf_free(&got);
}

/* No word is lost or found at any cut of a text: what can be read behind its end does not
 * matter. */
static void test_cuts(void)
{
	static const char text[] = "/*/**/*/E'\\''\"a\"\"b\" $a$'x'$a$ -- \n_PARENT _PART_FIELD_x"
		" $$ _PKEY $$";
	struct buf got = { 0 };
	size_t failed = 0;

	for (size_t n = 0; n < sizeof text; n++) {
		got.len = 0;
		expand(&got, (struct span){ text, n }, PLAIN);
		failed += got.len > 0 && got.p[0] == '!';
	}
	check_int("a text cut at each byte: how many are refused", (int64_t)failed, 0);
	check_buf("", span_of("the whole of that text"), &got,
		"/*/**/*/E'\\''\"a\"\"b\" $a$'x'$a$ -- \norders day_x $$ id $$");
	buf_free(&got);
}

int main(void)
{
	test_cases();
	test_appends();
	test_messages();
	test_cuts();
	return unit_end();
}
