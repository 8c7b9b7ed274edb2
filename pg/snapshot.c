/*
 * PgQ's query for the events between two ticks, with the ticks' snapshots as constants.
 *
 * PgQ joins both ticks to its event tables and calls two functions for each event. A snapshot is
 * three things: xmax, which no transaction that it sees reaches; those in progress below; and xmin,
 * which follows from them. So the same choice is a range of transactions and two lists, which cost
 * the server a third of the time, and a small batch no planning of a join. All else is left as PgQ
 * has it: its tables, the range that it reads, the transactions it lists one by one, the owner.
 *
 * To ask PgQ for that query takes as long as the rest of next_batch, and it differs from batch to
 * batch by the ticks alone while it reads the same tables. That is so where PgQ has named the
 * current table alone for an earlier batch, and
 * - this batch's first tick has no smaller xmin: PgQ leaves out the table before where that xmin is
 *   past the end of the last rotation, since all that the tick does not see began after it;
 * - no other table has become the current one: the queue's row is the same. form.c says how that is
 *   seen in time.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

#define FAR 100                         /* PgQ lists transactions further back one by one */

struct seen {                           /* a snapshot */
	int64_t xmin, xmax;
	const char *open;               /* transactions in progress, separated by commas */
};

/* "xmin:xmax:list" */
static bool parse(const char *text, struct seen *s)
{
	char *end;

	s->xmin = text ? strtoll(text, NULL, 10) : 0;
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

static const char from_ticks[] = "from pgq.tick cur, pgq.tick last, ";

char *snapshot_query(const char *pgq, const struct snapshot_ticks *t)
{
	struct seen before, after;
	struct buf sql = { 0 };
	const char *p = pgq, *at;
	bool ok = parse(t->before, &before) && parse(t->after, &after);

	while (ok && (at = strstr(p, from_ticks))) {
		buf_add(&sql, p, (size_t)(at - p));
		buf_str(&sql, "from ");
		p = at + strlen(from_ticks);
		ok = replace(&sql, &p, t, &before, &after);
	}
	buf_str(&sql, p);
	if (ok && p != pgq && !strstr(buf_cstr(&sql), "tick"))
		return sql.p;
	buf_free(&sql);
	return NULL;
}

/* ---- later batches of the same tables */

static bool is_among(const char *list, int64_t txid)
{
	char *end;

	for (const char *p = list; *p; p = *end ? end + 1 : end)
		if (strtoll(p, &end, 10) == txid)
			return true;
	return false;
}

/* The first transaction that `after` sees and `before` does not. */
static int64_t first_between(const struct seen *before, const struct seen *after)
{
	int64_t least = before->xmax;
	char *end;

	for (const char *p = before->open; *p; p = *end ? end + 1 : end) {
		int64_t txid = strtoll(p, &end, 10);
		if (txid < least && !is_among(after->open, txid))
			least = txid;
	}
	return least;
}

bool snapshot_learn(struct snapshot_form *f, const char *pgq, const struct snapshot_ticks *t,
	struct span table)
{
	struct seen before, after;
	struct buf ours = { 0 };
	const char *at = strstr(pgq, from_ticks), *p = at ? at + strlen(from_ticks) : NULL;

	snapshot_forget(f);
	if (!at || !parse(t->before, &before) || !parse(t->after, &after) ||
	    strncmp(p, table.p, table.n) != 0 || p[table.n] != ' ')
		return false;
	bool alone = replace(&ours, &p, t, &before, &after) && !strstr(p, "union") &&
		!strstr(p, "tick");
	buf_free(&ours);
	if (!alone)
		return false;
	buf_fmt(&ours, "%.*sfrom %.*s ev where ", (int)(at - pgq), pgq, (int)table.n, table.p);
	buf_cstr(&ours);
	*f = (struct snapshot_form){ .head = ours.p, .tail = mem_text(p), .xmin = before.xmin };
	return true;
}

char *snapshot_fill(const struct snapshot_form *f, const char *before, const char *after)
{
	struct seen from, to;
	struct buf sql = { 0 };

	if (!parse(before, &from) || !parse(after, &to) || from.xmin < f->xmin)
		return NULL;
	int64_t least = first_between(&from, &to);
	if (least < from.xmax - FAR)
		return NULL;
	buf_str(&sql, f->head);
	add_between(&sql, least, &from, &to);
	buf_str(&sql, f->tail);
	buf_cstr(&sql);
	return sql.p;
}

void snapshot_forget(struct snapshot_form *f)
{
	free(f->head);
	free(f->tail);
	*f = (struct snapshot_form){ 0 };
}
