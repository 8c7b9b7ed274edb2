/*
 * PgQ's query for the events between two ticks, with the ticks' snapshots as constants.
 *
 * PgQ joins both ticks to its event tables and calls two functions for each event. A snapshot is
 * three things: xmax, which no transaction that it sees reaches; those in progress below; and xmin,
 * which follows from them. So the same choice is a range of transactions and two lists, which cost
 * the server a third of the time, and a small batch no planning of a join. All else is left as PgQ
 * has it: its tables, the range that it reads, the transactions it lists one by one, the owner.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pg.h"

struct seen {                           /* a snapshot */
	int64_t xmax;
	const char *open;               /* transactions in progress, separated by commas */
};

/* "xmin:xmax:list" */
static bool parse(const char *text, struct seen *s)
{
	char *end;

	text = text ? strchr(text, ':') : NULL;
	s->xmax = text ? strtoll(text + 1, &end, 10) : 0;
	if (!text || *end != ':')
		return false;
	s->open = end + 1;
	return true;
}

/* Appends `test` with a list of those in progress from `least` on and below `below`, if any. */
static void add_open(struct buf *sql, const char *test, const char *open, int64_t least,
	int64_t below)
{
	const char *before = test;
	char *end;

	for (const char *p = open; *p; p = *end ? end + 1 : end) {
		int64_t txid = strtoll(p, &end, 10);
		if (txid < least || txid >= below)
			continue;
		buf_fmt(sql, "%s%" PRId64, before, txid);
		before = ",";
	}
	if (before != test)
		buf_str(sql, "}'::int8[])");
}

/* Of transactions from `least` on: those that `after` sees and `before` does not. */
static void add_between(struct buf *sql, int64_t least, const struct seen *before,
	const struct seen *after)
{
	buf_fmt(sql, "ev.ev_txid >= %" PRId64 " and ev.ev_txid < %" PRId64, least, after->xmax);
	add_open(sql, " and ev.ev_txid <> all ('{", after->open, least, after->xmax);
	if (least >= before->xmax)
		return;
	buf_fmt(sql, " and (ev.ev_txid >= %" PRId64, before->xmax);
	add_open(sql, " or ev.ev_txid = any ('{", before->open, least, before->xmax);
	buf_str(sql, ")");
}

static bool skip(const char **p, const char *words)
{
	size_t n = strlen(words);

	if (strncmp(*p, words, n) != 0)
		return false;
	*p += n;
	return true;
}

/* Replaces what comes after "from": *p is moved behind PgQ's conditions about the snapshots. */
static bool replace(struct buf *sql, const char **p, const struct snapshot_ticks *t,
	const struct seen *before, const struct seen *after)
{
	size_t table = strcspn(*p, " ");
	struct buf where = { 0 }, tests = { 0 };
	char *end;

	buf_fmt(sql, "%.*s ev where ", (int)table, *p);
	*p += table;
	buf_fmt(&where, " ev  where cur.tick_id = %" PRId64 " and cur.tick_queue = %" PRId64
		" and last.tick_id = %" PRId64 " and last.tick_queue = %" PRId64
		" and ev.ev_txid >= ", t->to, t->queue, t->from, t->queue);
	buf_fmt(&tests, " and ev.ev_txid <= %" PRId64
		" and txid_visible_in_snapshot(ev.ev_txid, cur.tick_snapshot)"
		" and not txid_visible_in_snapshot(ev.ev_txid, last.tick_snapshot)", after->xmax);
	bool ok = skip(p, buf_cstr(&where));
	int64_t least = ok ? strtoll(*p, &end, 10) : 0;
	if (ok)
		*p = end;
	ok = ok && skip(p, buf_cstr(&tests));
	add_between(sql, least, before, after);
	buf_free(&where);
	buf_free(&tests);
	return ok;
}

char *snapshot_query(const char *pgq, const struct snapshot_ticks *t)
{
	static const char ticks[] = "from pgq.tick cur, pgq.tick last, ";
	struct seen before, after;
	struct buf sql = { 0 };
	const char *p = pgq, *at;
	bool ok = parse(t->before, &before) && parse(t->after, &after);

	while (ok && (at = strstr(p, ticks))) {
		buf_add(&sql, p, (size_t)(at - p));
		buf_str(&sql, "from ");
		p = at + strlen(ticks);
		ok = replace(&sql, &p, t, &before, &after);
	}
	buf_str(&sql, p);
	if (ok && p != pgq && !strstr(buf_cstr(&sql), "tick"))
		return sql.p;
	buf_free(&sql);
	return NULL;
}
