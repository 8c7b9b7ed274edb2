/*
 * What we do about a server's error: a SQLSTATE means one thing while connecting and another while
 * sending rows. Pure, and the only file that knows SQLSTATEs.
 *
 * An event is to blame only for an error in answer to rows, and only for one that a value can
 * cause. An error of the COPY statement itself (row-level security, a view) would hit any row:
 * somebody must fix the table.
 */
#include <string.h>

#include "pq.h"

#define CONNECT (1u << SQLSTATE_CONNECT)
#define PLAIN (1u << SQLSTATE_STATEMENT)
#define CREATE (1u << SQLSTATE_CREATE)
#define COPY (1u << SQLSTATE_COPY)
#define ROWS (1u << SQLSTATE_ROWS)
#define ANY (~0u)

/* The first match decides: a prefix of the SQLSTATE, and what the server was answering. */
static const struct { const char *prefix; unsigned answers; int code; } rules[] = {
	/* the connection and the server, whatever was asked */
	{ "53", CONNECT, ERR_CONN },    /* too many connections: may pass, as if it were down */
	{ "53", ANY, ERR_RESOURCE },
	{ "08", ANY, ERR_CONN }, { "57P", ANY, ERR_CONN },
	{ "25006", ANY, ERR_READONLY },
	{ "0A000", PLAIN, ERR_READONLY },       /* a standby lacks what our statements need */
	{ "57014", ANY, ERR_TIMEOUT }, { "25P03", ANY, ERR_TIMEOUT }, { "25P04", ANY, ERR_TIMEOUT },
	{ "55P03", ANY, ERR_TIMEOUT },
	{ "40001", ANY, ERR_CONFLICT }, { "40P01", ANY, ERR_CONFLICT },
	{ "42501", ANY, ERR_RIGHTS }, { "28", ANY, ERR_RIGHTS }, { "3D000", ANY, ERR_RIGHTS },
	{ "3F000", COPY, ERR_SHAPE }, { "3F000", ANY, ERR_RIGHTS },
	{ "XX", ANY, ERR_OTHER }, { "57", ANY, ERR_OTHER }, { "58", ANY, ERR_OTHER },

	/* each kind of statement */
	{ "", CONNECT, ERR_RIGHTS },
	{ "42P07", CREATE, ERR_CONFLICT }, { "42710", CREATE, ERR_CONFLICT },
	{ "", CREATE, ERR_SHAPE },
	{ "42P01", COPY, ERR_SHAPE }, { "42701", COPY, ERR_SHAPE }, { "42703", COPY, ERR_SHAPE },
	{ "42P10", COPY, ERR_SHAPE },   /* a generated column */
	{ "22021", COPY, ERR_DATA },    /* bytes of a column's name, which is the event's */
	{ "22P05", COPY, ERR_DATA },
	{ "", COPY, ERR_RIGHTS },
	{ "2200H", ROWS, ERR_RIGHTS },  /* the sequence of a column's default is exhausted */
	{ "20", ROWS, ERR_DATA }, { "27", ROWS, ERR_DATA }, { "38", ROWS, ERR_DATA },
	{ "39", ROWS, ERR_DATA },
	{ "2F005", ROWS, ERR_DATA },    /* a trigger that ends without RETURN */
	{ "54", ROWS, ERR_DATA },       /* too long for an index, too deep for a parser */
	{ "42P07", ANY, ERR_CONFLICT },
	{ "42", ANY, ERR_SHAPE },
	{ "21", ANY, ERR_DATA }, { "22", ANY, ERR_DATA }, { "23", ANY, ERR_DATA },
	{ "44", ANY, ERR_DATA }, { "P0", ANY, ERR_DATA },
};

/* The classes that the server itself uses; any other is a trigger's own. */
static bool is_servers_class(const char *state)
{
	static const char classes[] = "00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26"
		" 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 42 44 53 54 55 57 58 72 F0 HV P0 XX";

	for (const char *at = classes; at < classes + sizeof classes - 1; at += 3)
		if (strncmp(at, state, 2) == 0)
			return true;
	return false;
}

static bool begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int by_rule(const char *state, enum sqlstate_answers to)
{
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (rules[i].answers & 1u << to && begins_with(state, rules[i].prefix))
			return rules[i].code;
	if (to != SQLSTATE_ROWS)
		return ERR_OTHER;
	return is_servers_class(state) ? ERR_RIGHTS : ERR_DATA;
}

/* The server cannot assign a transaction id. Names of its routines are never translated. */
static bool has_no_id(const struct sqlstate_error *error)
{
	return strcmp(error->routine, "GetNewTransactionId") == 0 ||
		strcmp(error->routine, "GetNewMultiXactId") == 0;
}

/* Another session changed the catalog concurrently. The server does not translate these words. */
static bool is_race(const struct sqlstate_error *error, enum sqlstate_answers to)
{
	static const char *const words[] = {
		"tuple concurrently ", "cache lookup failed for ",
		"could not open relation with OID ",
	};

	if (strcmp(error->state, "23505") == 0)
		return strcmp(error->schema, "pg_catalog") == 0;
	if (strcmp(error->state, "XX000") != 0 || to != SQLSTATE_CREATE)
		return false;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (begins_with(error->message, words[i]))
			return true;
	return false;
}

int sqlstate_judge(const struct sqlstate_error *error, enum sqlstate_answers to)
{
	if (has_no_id(error))   /* XX000: a standby; 54000: ids are used up, no value is too long */
		return begins_with(error->state, "XX") ? ERR_READONLY : ERR_RIGHTS;
	if (is_race(error, to))
		return ERR_CONFLICT;
	return by_rule(error->state, to);
}

/* ---- what some of them tell */

/* A prefix of the SQLSTATEs that each name stands for. */
static const struct { enum sqlstate_name name; const char *prefix; } named[] = {
	{ SQLSTATE_DENIED, "42501" },
	{ SQLSTATE_NO_TABLE, "42P01" }, { SQLSTATE_NO_TABLE, "3F000" },
	{ SQLSTATE_NO_COLUMN, "42703" },
	{ SQLSTATE_TAKEN, "42P07" }, { SQLSTATE_TAKEN, "42710" },
	{ SQLSTATE_LOCKED, "55P03" },
	{ SQLSTATE_DUPLICATE, "23505" }, { SQLSTATE_DUPLICATE, "23P01" },
	{ SQLSTATE_RAISED, "P0001" },
	{ SQLSTATE_TOO_MUCH, "53200" },
	{ SQLSTATE_BAD_VALUE, "22" },
	{ SQLSTATE_BAD_BINARY, "22P03" }, { SQLSTATE_BAD_BINARY, "08P01" },
	{ SQLSTATE_BAD_BINARY, "XX000" },       /* jsonb_recv */
	{ SQLSTATE_BAD_ROW, "22" }, { SQLSTATE_BAD_ROW, "23502" }, { SQLSTATE_BAD_ROW, "23514" },
	{ SQLSTATE_BAD_DATE, "22007" }, { SQLSTATE_BAD_DATE, "22008" },
	{ SQLSTATE_BAD_TEXT, "22P02" },
};

bool sqlstate_is(const char *state, enum sqlstate_name name)
{
	for (size_t i = 0; i < sizeof named / sizeof *named; i++)
		if (named[i].name == name && begins_with(state, named[i].prefix))
			return true;
	return false;
}

bool sqlstate_is_lost(const struct err *e)
{
	return e->code == ERR_CONN || e->code == ERR_STOP || e->code == ERR_READONLY ||
		(e->code == ERR_RESOURCE && !*e->sqlstate);
}

const char *sqlstate_setting(const char *state)
{
	static const char *const settings[][2] = {
		{ "57014", "statement_timeout" },
		{ "25P03", "idle_in_transaction_session_timeout" },
		{ "25P04", "transaction_timeout" },
		{ "55P03", "who holds the lock, and lock_timeout" },
	};

	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		if (strcmp(state, settings[i][0]) == 0)
			return settings[i][1];
	return NULL;
}
