/*
 * The partitions that rows need and that are not known to exist. They are requested while these
 * rows wait in the sink, looked up, and, if missing, created, many in one call, before any of the
 * rows is sent: inside the transactions that load them (inside.c), or before these (outside.c).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"

/* ---- partitions that are wanted */

void missing_drop(struct parts *k, size_t from, size_t to)
{
	if (from == to)
		return;
	for (size_t i = from; i < to; i++) {
		free(k->want[i].name);
		free(k->want[i].sql);
	}
	memmove(k->want + from, k->want + to, (k->nwant - to) * sizeof *k->want);
	k->nwant -= to - from;
}

bool missing_left(const struct parts *k)
{
	return k->nwant > k->inside;
}

static bool is_wanted(const struct parts *k, int64_t start_s)
{
	for (size_t i = 0; i < k->nwant; i++)
		if (k->want[i].start_s == start_s)
			return true;
	return false;
}

/* ---- values of a list that are refused */

static void refuse(struct parts *k, size_t at, const struct err *e)
{
	k->refused = mem_grow(k->refused, k->nrefused, &k->refused_cap, sizeof *k->refused);
	k->refused[k->nrefused++] = (struct refused){ k->want[at].start_s, mem_text(e->msg) };
	k->refuses = true;
	missing_drop(k, at, at + 1);
}

void missing_forget_refused(struct parts *k)
{
	while (k->nrefused)
		free(k->refused[--k->nrefused].why);
	k->refuses = false;
}

bool missing_has_refused(struct place *at)
{
	bool refuses = at->parts->refuses;

	at->parts->refuses = false;
	return refuses;
}

int missing_refuses(const struct place *at, int64_t start_s, struct err *e)
{
	const struct parts *k = at->parts;

	for (size_t i = 0; i < k->nrefused && !e->code; i++)
		if (k->refused[i].start_s == start_s)
			err_set(e, ERR_DATA, "%s", k->refused[i].why);
	return e->code;
}

/* ---- wanting them, and what is there */

/* Takes over sql; NULL: the event's values do not suffice to create the partition. */
static void want(struct parts *k, const struct part_want *w, int64_t event, char *sql,
	const struct attach_split *split)
{
	k->want = mem_grow(k->want, k->nwant, &k->want_cap, sizeof *k->want);
	k->want[k->nwant++] = (struct part_new){
		.name = mem_str(w->name.p, w->name.n), .sql = sql, .split = *split,
		.start_s = w->start_s, .event = event, .old = w->old,
	};
}

int missing_want(struct place *at, const struct part_want *w, int64_t event, struct err *e)
{
	struct parts *k = at->parts;
	struct attach_split split = k->split;
	struct buf sql = { 0 };

	if (!at->has_newest || w->start_s > at->newest)
		at->newest = w->start_s;
	at->has_newest = true;
	if (!w->dest->part_template || known_has(&at->known, w->start_s) ||
	    is_wanted(k, w->start_s))
		return 0;
	if (partsql_add_split(&sql, w, &split, e) < 0) {
		buf_free(&sql);
		if (e->code == ERR_DATA)
			want(k, w, event, NULL, &split);
		return e->code;
	}
	buf_cstr(&sql);
	want(k, w, event, sql.p, &split);
	return 0;
}

bool missing_counts(const struct place *at)
{
	return at->dest->period.method == PERIOD_LIST;
}

bool missing_any(const struct place *at)
{
	return missing_left(at->parts);
}

void missing_sort_out(struct place *at, size_t from)
{
	struct parts *k = at->parts;

	for (size_t i = from; i < k->nwant;) {
		if (k->want[i].there)
			known_add(&at->known, k->want[i].start_s);
		if (k->want[i].there || !k->want[i].sql)
			missing_drop(k, i, i + 1);
		else
			i++;
	}
}

int missing_blame(struct parts *k, size_t at, int64_t *event, const struct err *e)
{
	if (at < k->nwant)
		*event = k->want[at].event;
	if (at < k->nwant && e->code == ERR_DATA)
		refuse(k, at, e);
	return e->code;
}

/* Are there more than part_list_max that do not exist? That is a list gone wild. */
static int check_number(const struct place *at, struct err *e)
{
	const struct parts *k = at->parts;
	int64_t max = at->dest->part_list_max;

	if (!missing_counts(at) || (int64_t)k->nwant <= max)
		return 0;
	return err_set(e, ERR_SHAPE, "the batch needs more new partitions of %s than part_list_max"
		" = %" PRId64 ", %s is one of them: has part_field = %s so many values?",
		at->dest->dest_table, max, k->want[k->nwant - 1].name, at->dest->part_field);
}

int missing_ask(struct place *at, struct pq *pq, int64_t *event, struct err *e)
{
	struct parts *k = at->parts;
	size_t from = k->inside, which;

	if (part_look(pq, at->dest, k->want + from, k->nwant - from, &which, e) < 0)
		return missing_blame(k, from + which, event, e);
	missing_sort_out(at, from);
	return check_number(at, e);
}

int missing_look(struct place *at, struct job *j, int64_t *event, struct err *e)
{
	if (style_open(&j->ddl, j->conf, &j->style, e) < 0)
		return e->code;
	return missing_ask(at, j->ddl, event, e);
}

bool missing_waits(const struct err *e)
{
	return e->code == ERR_TIMEOUT || e->code == ERR_CONFLICT;
}

/* ---- of a place */

void missing_open(struct place *at)
{
	const char *template = at->dest->part_template;

	if (at->parts)
		return;
	at->parts = mem_alloc(sizeof *at->parts);
	*at->parts = (struct parts){ 0 };
	at->parts->simple = template && attach_is_all(span_of(template), &at->parts->split);
}

void missing_begin_batch(struct place *at)
{
	missing_forget_refused(at->parts);
}

void missing_begin(struct place *at)
{
	missing_drop(at->parts, 0, at->parts->nwant);
	at->parts->alone = false;
}

void missing_forget(struct place *at)
{
	struct parts *k = at->parts;

	missing_drop(k, 0, k->nwant);
	missing_forget_refused(k);
	k->inside = 0;
	k->fails_inside = false;
	known_clear(&at->known);
}

void missing_free(struct place *at)
{
	if (!at->parts)
		return;
	missing_forget(at);
	indexes_clear(&at->parts->indexes);
	free(at->parts->refused);
	free(at->parts->want);
	free(at->parts);
	at->parts = NULL;
}
