/*
 * Lets a server judge what template_expand makes of hostile names. Random texts are filled once
 * with harmless names and once with hostile ones, both are run, and each must give the same
 * statements, errors, columns and values, but for the names themselves.
 *
 *	judge CONNINFO COUNT SEED
 *
 * The database has a table victim. Prints what differs; exit code 1 then.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../event/event.h"

static const char harmless[] = "harm less";
static const char *const hostile[] = {
	"'; drop table victim; --", "\\'; drop table victim; --", "\"; drop table victim; --",
	"''; drop table victim; --", "\\\\'; drop table victim; --", "\\x27; drop table victim; --",
	"'||(select 1)||'", "a', 'b", "$q$; drop table victim; --", "$$; drop table victim; --",
	"x\n'; drop table victim; --", "x\n; drop table victim; --", "*/ drop table victim; --",
	"-- '", "/* '", "\\", "'", "\"", "a\\", "%s%L", "U&'\\0027'", "E'\\'", "\n'",
	"';\ndrop table victim\n;--",
};

/* Pieces of random texts, their words alone, so that a name is found again in what comes of it:
 * of SQL, and of what stands between the quotes of a plain and of an E string. */
static const char *const code[] = { " _PARENT ", " as _PART_FIELD ", ", 1 as _PARENT ",
	" -- it's\n", " /* ' */ ", ", ", "\n", " || ", " ", "_PART_START" };
static const char *const plain[] = {
	" _PKEY ", " _PARENT, ", " _PARENT ", "( _PKEY )", " key ", " of ", " the ", "a ", " ",
	"''", "\"", "--", "/*", "*/", "\n", "$$", "$q$", ";", "\\", "it''s ", " 1 ",
	"select 1 as _PARENT ", "'' _PARENT ''", " E''", ", ''x''",
};
static const char *const escapes[] = { "\\\\", "\\'", "\\x27", "\\47", "\\n", "\\u0027", "\\t",
	"\\x2", "\\z" };

#define PICK(list) (list)[(unsigned)rand() % (sizeof (list) / sizeof *(list))]

static void add_content(struct buf *text, bool escaping)
{
	for (int n = rand() % 5; n >= 0; n--)
		buf_str(text, escaping && rand() % 3 == 0 ? PICK(escapes) : PICK(plain));
}

static void add_string(struct buf *text)
{
	static const char *const kinds[] = { "", "", "E", "e", "N", "U&", "B" };
	static const char *const between[] = { "\n", " \n\t", "\n-- it's\n", " -- x\n", " /* \n"
		" */ ", " ", "\r" };
	const char *kind = PICK(kinds);

	if (rand() % 5 == 0) {
		buf_str(text, "$q$");
		add_content(text, false);
		buf_str(text, "$q$");
		return;
	}
	for (int n = rand() % 3; n >= 0; n--) {
		buf_str(text, kind);
		buf_str(text, "'");
		bool escaping = kind[0] == 'E' || kind[0] == 'e' || (!kind[0] && rand() % 8 == 0);
		add_content(text, escaping);
		buf_str(text, "'");
		buf_str(text, n ? PICK(between) : "");
		kind = rand() % 4 ? "" : kind;
	}
}

static void add_expression(struct buf *text)
{
	add_string(text);
	for (int n = rand() % 3; n > 0; n--) {
		buf_str(text, PICK(code));
		if (rand() % 2)
			add_string(text);
	}
}

static void add_statement(struct buf *text)
{
	static const char *const before[] = { "select ", "do $$ begin raise notice '%', ",
		"do $b$ begin execute ", "comment on table victim is " };
	static const char *const after[] = { "", "; end $$", "; end $b$", "" };
	size_t i = (size_t)rand() % 4;

	buf_str(text, before[i]);
	if (i == 3)
		add_string(text);
	else
		add_expression(text);
	buf_str(text, after[i]);
	buf_str(text, ";\n");
}

/* ---- what a server makes of it */

/* As it would be with the other name, which needs quotes as the harmless one does. */
static void put_name(struct buf *said, const char *name)
{
	struct buf out = { 0 };
	const char *p = buf_cstr(said), *at;

	for (; (at = strstr(p, harmless)); p = at + strlen(harmless)) {
		bool quoted = at > said->p && at[-1] == '"';
		buf_add(&out, p, (size_t)(at - p));
		for (const char *c = name; *c; c++)
			buf_fmt(&out, quoted && *c == '"' ? "\"%c" : "%c", *c);
	}
	buf_str(&out, p);
	buf_free(said);
	*said = out;
}

static void on_notice(void *said, const PGresult *res)
{
	buf_fmt(said, "notice %s\n", PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
}

/* The results; what an error says of the text is left out. */
static void run(PGconn *conn, const char *sql, struct buf *said)
{
	PGresult *res;

	PQsetNoticeReceiver(conn, on_notice, said);
	if (!PQsendQuery(conn, sql))
		buf_str(said, PQerrorMessage(conn));
	while ((res = PQgetResult(conn))) {
		const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
		buf_fmt(said, "%s %s\n", PQcmdStatus(res), state ? state : "");
		for (int i = 0; i < PQnfields(res); i++)
			buf_fmt(said, "  %s: %s\n", PQfname(res, i), PQntuples(res) ?
				PQgetvalue(res, 0, i) : "");
		PQclear(res);
	}
}

/* false: it is refused. */
static bool fill(struct span text, const char *name, struct buf *sql)
{
	struct span pkey = span_of(name);
	struct template_words words = {
		.parent = pkey, .part = span_of("part"), .pkey = &pkey, .npkey = 1,
		.part_field = pkey,
		.start = span_of("2026-01-01"), .end = span_of("2026-01-02"),
	};

	sql->len = 0;
	buf_str(sql, "begin; set local standard_conforming_strings = on;\n");
	if (template_expand(sql, text, &words, &(struct err){ 0 }) < 0)
		return false;
	buf_str(sql, "\n;select to_regclass('victim'), obj_description('victim'::regclass);"
		" rollback");
	return true;
}

static void judge_one(PGconn *conn, struct span text, const char *name, struct buf *said)
{
	struct buf sql = { 0 };

	if (fill(text, name, &sql))
		run(conn, buf_cstr(&sql), said);
	run(conn, "rollback", &(struct buf){ 0 });
	buf_free(&sql);
}

int main(int argc, char **argv)
{
	PGconn *conn = PQconnectdb(argc > 1 ? argv[1] : "");
	int count = argc > 2 ? atoi(argv[2]) : 1000, refused = 0, ran = 0, wrong = 0;

	srand(argc > 3 ? (unsigned)atoi(argv[3]) : 1);
	for (int i = 0; i < count && PQstatus(conn) == CONNECTION_OK; i++) {
		struct buf text = { 0 }, wanted = { 0 }, got = { 0 };
		const char *name = PICK(hostile);
		for (int n = rand() % 3; n >= 0; n--)
			add_statement(&text);
		struct span template = { buf_cstr(&text), text.len };
		if (nesting_check(template, &(struct err){ 0 }) == 0) {
			judge_one(conn, template, harmless, &wanted);
			judge_one(conn, template, name, &got);
			put_name(&wanted, name);
		}
		refused += !got.len || !wanted.len;
		ran += wanted.len && !strstr(buf_cstr(&wanted), " 4");
		if (got.len && wanted.len && strcmp(buf_cstr(&got), buf_cstr(&wanted)) != 0 &&
		    wrong++ < 5)
			printf("== %s\n-- with %s\n%s-- not\n%s", buf_cstr(&text), name,
				buf_cstr(&got), buf_cstr(&wanted));
		buf_free(&text);
		buf_free(&wanted);
		buf_free(&got);
	}
	printf("%d texts: %d refused, %d ran to their end, %d wrong\n", count, refused, ran, wrong);
	bool lost = PQstatus(conn) != CONNECTION_OK;
	PQfinish(conn);
	return wrong > 0 || lost || ran == 0;
}
