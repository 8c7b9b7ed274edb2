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

void missing_put(struct part_list *list, const struct part_new *part)
{
	list->at = mem_grow(list->at, list->n, &list->cap, sizeof *list->at);
	list->at[list->n++] = *part;
}

void missing_drop(struct part_list *list, size_t from, size_t to)
{
	if (from == to)
		return;
	for (size_t i = from; i < to; i++) {
		free(list->at[i].name);
		free(list->at[i].sql);
	}
	memmove(list->at + from, list->at + to, (list->n - to) * sizeof *list->at);
	list->n -= to - from;
}

void missing_move(struct part_list *to, struct part_list *from)
{
	for (size_t i = 0; i < from->n; i++)
		missing_put(to, &from->at[i]);
	from->n = 0;
}

static bool has(const struct part_list *list, int64_t start_s)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->at[i].start_s == start_s)
			return true;
	return false;
}

static bool is_wanted(const struct parts *k, int64_t start_s)
{
	bool yes = has(&k->want, start_s);

	for (size_t i = 0; k->making && i < LANES_MAX && !yes; i++)
		yes = has(&k->making[i].list, start_s);
	return yes;
}

/* ---- values of a list that are refused */

static void refuse(struct parts *k, size_t at, const struct err *e)
{
	k->refused = mem_grow(k->refused, k->nrefused, &k->refused_cap, sizeof *k->refused);
	k->refused[k->nrefused++] = (struct refused){ k->want.at[at].start_s, mem_text(e->msg) };
	k->refuses = true;
	missing_drop(&k->want, at, at + 1);
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
	missing_put(&k->want, &(struct part_new){
		.name = mem_str(w->name.p, w->name.n), .sql = sql, .split = *split,
		.lane = w->lane, .start_s = w->start_s, .event = event, .old = w->old,
	});
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
	return at->parts->want.n > 0;
}

void missing_sort_out(struct place *at, struct part_list *list)
{
	for (size_t i = 0; i < list->n;) {
		if (list->at[i].there)
			known_add(&at->known, list->at[i].start_s);
		if (list->at[i].there || !list->at[i].sql)
			missing_drop(list, i, i + 1);
		else
			i++;
	}
}

int missing_blame(struct parts *k, size_t at, int64_t *event, const struct err *e)
{
	if (at < k->want.n)
		*event = k->want.at[at].event;
	if (at < k->want.n && e->code == ERR_DATA)
		refuse(k, at, e);
	return e->code;
}

/* Are there more than part_list_max that do not exist? That is a list gone wild. */
static int check_number(const struct place *at, struct err *e)
{
	const struct parts *k = at->parts;
	int64_t max = at->dest->part_list_max;

	if (!missing_counts(at) || (int64_t)(k->made.n + k->want.n) <= max)
		return 0;
	return err_set(e, ERR_SHAPE, "the batch needs more new partitions of %s than part_list_max"
		" = %" PRId64 ", %s is one of them: has part_field = %s so many values?",
		at->dest->dest_table, max, k->want.at[k->want.n - 1].name, at->dest->part_field);
}

int missing_ask(struct place *at, struct pq *pq, int64_t *event, struct err *e)
{
	struct parts *k = at->parts;
	size_t which;

	if (part_look(pq, at->dest, k->want.at, k->want.n, &which, e) < 0)
		return missing_blame(k, which, event, e);
	missing_sort_out(at, &k->want);
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

static void drop_all(struct part_list *list)
{
	missing_drop(list, 0, list->n);
	free(list->at);
	*list = (struct part_list){ 0 };
}

void missing_again(struct parts *k)
{
	missing_move(&k->want, &k->made);
	for (size_t i = 0; k->making && i < LANES_MAX; i++)
		missing_move(&k->want, &k->making[i].list);
	for (size_t i = 0; i < k->want.n; i++) {
		struct part_new *w = &k->want.at[i];
		w->there = w->made = false;
		w->first = 0;
		w->indexes = NULL;
		w->model = 0;
	}
}

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
	struct parts *k = at->parts;

	missing_again(k);
	drop_all(&k->want);
	k->alone = false;
}

void missing_forget(struct place *at)
{
	struct parts *k = at->parts;

	missing_begin(at);
	missing_forget_refused(k);
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
	drop_all(&at->parts->made);
	for (size_t i = 0; at->parts->making && i < LANES_MAX; i++)
		drop_all(&at->parts->making[i].list);
	free(at->parts->making);
	free(at->parts);
	at->parts = NULL;
}
