/* Tests of nesting.c: words of part_template that cannot be quoted where they stand. */
#include "../../base/buf.c"
#include "../../event/sql.c"
#include "../../event/template.c"
#include "../../event/nesting.c"
#include "unit.h"

/* refused: a part of the message, NULL for what can be filled in. */
static const struct { const char *text, *refused; } cases[] = {
	{ "", NULL },
	{ "create table _DEST_TABLE (like _PARENT, primary key (_PKEY)) -- it's _PKEY", NULL },
	{ "comment on table _DEST_TABLE is 'rows of _PARENT, key (_PKEY)'", NULL },
	{ "comment on table _DEST_TABLE is E'it\\'s _PKEY'; select 'it''s', \"_DEST_TABLE by\"",
		NULL },
	{ "comment on table _DEST_TABLE is 'it''s _PKEY' -- it''s", NULL },
	{ "do $$ begin execute 'it''s _PKEY'; end $$", "_PKEY is quoted" },
	{ "select E'it\\'s (_PKEY)', 'it''s', \"_DEST_TABLE by\"", "_PKEY is in a string" },
	{ "select '_PKEY'; select 'it''s'", NULL },
	{ "select '_PARENT', 'it''s'", NULL },
	{ "do $$ begin execute 'create table _DEST_TABLE () inherits (_PARENT)'; end $$", NULL },
	{ "do $$ begin execute $q$ comment on table _DEST_TABLE is 'key: _PKEY' $q$; end $$",
		NULL },
	{ "do $$ begin execute format('comment on table %s is %L', '_DEST_TABLE', '_PKEY'); end $$",
		NULL },
	{ "'create table _DEST_TABLE (note text default ''x'')'", NULL },
	{ "'it''s' || '_PARENT'", NULL },
	{ "'it''s' || '_PARENT''s'", "_PARENT" },

	/* quoted twice */
	{ "do $$ begin execute 'comment on table _DEST_TABLE is ''key: _PKEY'''; end $$",
		"line 1: _PKEY is quoted inside of a string" },
	{ "\n\nselect 'a ''_PARENT'''", "line 3: _PARENT" },
	{ "'\"_DEST_TABLE by\"'", "_DEST_TABLE" },
	{ "'a -- _PKEY'", "_PKEY" },
	{ "'a -- b\n _PKEY'", NULL },
	{ "'a /* _PKEY */'", "_PKEY" },
	{ "'$$ _PKEY $$'", "_PKEY" },
	{ "'$a _PKEY $'", NULL },
	{ "'$a$_PARENT'", "_PARENT" },
	{ "'it''s _PARENT'", NULL },
	{ "'it''s _PARENT' || ''''", "_PARENT" },
	{ "f('''', 'it''s _PARENT')", "_PARENT" },
	{ "'it''s one, that''s two: _PARENT'", NULL },
	{ "'a' -- it's\n  ' ''_PKEY'''", "_PKEY" },
	{ "'a ''b'\n'c _PKEY'''", "_PKEY" },
	{ "'a ''b' 'c _PARENT'", NULL },
	{ "E'a \\'_PKEY\\''", "_PKEY" },
	{ "E'a \\x27_PKEY\\47'", "_PKEY" },
	{ "E'a \\u0027 _PKEY\\u0027'", "_PKEY" },
	{ "E'-- \\n_PKEY'", NULL },
	{ "E'a\\\\' || ' _PARENT'", NULL },
	{ "E'a'\n' \\'_PKEY\\''", "_PKEY" },
	{ "'a'\n' \\' _PKEY", NULL },
	{ "E'\\z_PARENT'", "escape" },
	{ "E'\\n_PARENT \\z'", NULL },
	{ "'_PARENT'\n'x'", "next piece" },
	{ "'a'\n'_PARENT'", "next piece" },
	{ "'_PARENT '\n'x' '_PARENT'", NULL },
	{ "'\"x\"_PARENT'", "_PARENT" },
	{ "'_PARENT''x'''", "_PARENT" },
	{ "'U&_PARENT'", "_PARENT" },

	/* quotes in one string, the key in another of the statement */
	{ "execute 'comment on table t is ''' || '_PKEY' || ''''", "_PKEY is in a string, and"
		" quotes" },
	{ "execute format('comment on table t is ''%s''', '_PKEY')", "_PKEY" },
	{ "execute format($q$comment on table t is '%s'$q$, '_PKEY')", "_PKEY" },
	{ "execute format('create index \"%s\" on t', $q$_PKEY$q$)", "_PKEY" },
	{ "do $$ begin execute 'comment is ''' || '_PKEY' || ''''; end $$", "_PKEY" },
	{ "do $$ begin execute $q$comment '_PKEY'$q$; execute $q$comment '_PKEY'$q$; end $$",
		NULL },
	/* or a comment, which a name with a newline ends */
	{ "execute $q$--$q$ || $q$ _PKEY$q$", "_PKEY is in a string, and a comment" },
	{ "select $q$--$q$ || $q$ _PKEY$q$", "_PKEY is in a string, and quotes or comments" },
	{ "EXECUTE $q$ -- _PARENT /*$q$ || ' x*/' || '_PARENT'",
		"_PARENT is in a string, and a comment" },
	{ "execute 'select 1 -' || '- ' || '_PARENT'", "_PARENT" },
	{ "execute $q$-- a\ncomment on table _DEST_TABLE is '_PKEY'$q$", NULL },
	{ "do $$ begin -- _PKEY\n execute 'drop table _DEST_TABLE'; end $$", NULL },
	{ "raise notice '-- %', '_PARENT'", NULL },

	/* kinds of strings that nothing can be filled into */
	{ "U&'_PARENT'", "U&" },
	{ "u&\"_PARENT\"", "U&" },
	{ "U&'\\0061' || '_PARENT'", NULL },
	{ "xu&'_PARENT'", NULL },
	{ "B'_PARENT' X'1'", "B'" },
	{ "x'1'\n'_PARENT'", "B'" },
	{ "N'_PARENT'", NULL },
	{ "_PARENT&'x'", NULL },

	/* a literal beside a string */
	{ "select E'a'\n_PART_START -- it's\n'b _PKEY'", "_PART_START would be one string" },
	{ "select _PART_END\n'b'", "_PART_END would" },
	{ "select 'a' _PART_START, _PART_END 'b'", NULL },
	{ "select 'a',\n_PART_START\n, 'b'\n", NULL },

	/* a number's end */
	{ "select 1E'\\' || '_PARENT'", "a number" },
	{ "$1E'_PARENT'", "a number" },
	{ "1U&'x'", "a number" },
	{ "1$$ _PARENT $$", "a number" },
	{ "$1$$ _PARENT $$", "a number" },
	{ "1 $$ _PARENT $$ 0x1F 1e5 $1", NULL },
	{ "1_DEST_TABLE$$", NULL },
	{ "'1$$ _PARENT'", "_PARENT" },

	{ "set Standard_Conforming_Strings = off; '_PARENT'", "standard_conforming_strings must"
		" stay on" },
	{ "'", NULL }, { "$$", NULL }, { "\"", NULL }, { "E'\\", NULL }, { "E'\\x", NULL },
	{ "/*", NULL }, { "$a$ '", NULL },
};

static void test_cases(void)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct span text = span_of(cases[i].text);
		struct err e = { 0 };
		char *copy = unit_exact(text);
		int code = nesting_check((struct span){ copy, text.n }, &e);
		bool right = cases[i].refused ?
				code == ERR_CONF && strstr(e.msg, cases[i].refused) : code == 0;
		check_span("check of", text,
				span_of(right ? "" : code ? e.msg : "passed"), span_of(""));
		free(copy);
	}
}

/* At any cut of a text nothing behind its end is read. */
static void test_cuts(void)
{
	static const char text[] = "E'\\x2'\n'\\''\"a\"U&'x' $a$'x'$b$ -- \n'$a$'$a$ 1 '\\u00";

	for (size_t n = 0; n < sizeof text; n++) {
		char *copy = unit_exact((struct span){ text, n });
		nesting_check((struct span){ copy, n }, &(struct err){ 0 });
		free(copy);
	}
}

int main(void)
{
	test_cases();
	test_cuts();
	return unit_end();
}
