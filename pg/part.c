/*
 * Partitions by their names: which exist, and may rows go to them? And what all ways to create them
 * share: an advisory lock, which serializes the processes that create partitions of one table, and
 * the message that creates them.
 */
#include <stdlib.h>
#include <string.h>

#include "pq.h"

#define CREATION_LOCK 0x74647074        /* "tdpt" */

void part_name(struct buf *name, const struct dest *d, int64_t start_s)
{
	char suffix[PERIOD_SUFFIX_MAX];

	period_suffix(&d->period, start_s, suffix);
	buf_add(name, d->table.p, d->table.n);
	buf_str(name, suffix);
}

/* ---- looking for them */

void part_add_look(struct buf *sql, const struct dest *d, const struct part_new *list, size_t n)
{
	buf_str(sql, "SELECT w.part IS NOT NULL FROM (VALUES ");
	for (size_t i = 0; i < n; i++) {
		buf_fmt(sql, "%s(%zu, ", i ? "), " : "", i);
		buf_regclass(sql, d->schema, span_of(list[i].name));
	}
	buf_str(sql, ")) w (i, part) ORDER BY w.i");
}

void part_take(const struct pq *pq, struct part_new *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		list[i].there = strcmp(pq_value(pq, (int)i, 0), "t") == 0;
}

int part_ask(struct pq *pq, const struct dest *d, struct buf *sql, struct part_new *list, size_t n,
	struct err *e)
{
	part_add_look(sql, d, list, n);
	if (pq_query(pq, buf_cstr(sql), e) == 0)
		part_take(pq, list, n);
	buf_free(sql);
	return e->code;
}

int part_refuse(struct pq *pq, const struct dest *d, const struct part_new *list, size_t n,
	size_t *at, struct err *e)
{
	struct table_name *names = mem_alloc((n + 1) * sizeof *names);
	size_t m = 0, which = 0;
	bool children;

	*at = 0;
	for (size_t i = 0; i < n; i++)
		if (list[i].there && !list[i].made)
			names[m++] = (struct table_name){ span_of(list[i].name), list[i].old };
	if (admit_check(pq, d, names, m, &children, &which, e) < 0) {
		while (*at + 1 < n && which < m && !span_is(names[which].name, list[*at].name))
			++*at;
		if (!*e->sqlstate && (e->code == ERR_SHAPE || e->code == ERR_RIGHTS) &&
		    d->period.method == PERIOD_LIST)
			e->code = ERR_DATA;     /* a value may make any name */
	}
	free(names);
	return e->code;
}

int part_look(struct pq *pq, const struct dest *d, struct part_new *list, size_t n, size_t *at,
	struct err *e)
{
	struct buf sql = { 0 };

	*at = 0;
	if (part_ask(pq, d, &sql, list, n, e) < 0)
		return e->code;
	return part_refuse(pq, d, list, n, at, e);
}

int part_find(struct pq *pq, const struct dest *d, struct part_new *list, size_t n, struct err *e)
{
	size_t at;

	if (!n)
		return e->code;
	part_look(pq, d, list, n, &at, e);
	while (e->code == ERR_DATA) {
		list[at].there = false;         /* so that it is not looked at again */
		*e = (struct err){ 0 };
		part_refuse(pq, d, list, n, &at, e);
	}
	return e->code;
}

/* ---- creating them */

void part_add_lock_key(struct buf *sql, const struct dest *d)
{
	buf_fmt(sql, "%d, coalesce(", CREATION_LOCK);
	buf_regclass(sql, d->schema, d->table);
	buf_str(sql, ", 0::pg_catalog.oid)::pg_catalog.int4");
}

int part_run(struct pq *pq, const struct dest *d, struct buf *sql, struct part_new *list, size_t n,
	struct err *e)
{
	for (size_t i = 0; i < n; i++)
		list[i].made = !list[i].there;
	if (part_ask(pq, d, sql, list, n, e) < 0)
		pq_judge(pq, SQLSTATE_CREATE, e);
	return part_check_made(list, n, e);
}

int part_check_made(const struct part_new *list, size_t n, struct err *e)
{
	for (size_t i = 0; i < n && !e->code; i++)
		if (!list[i].there)
			err_set(e, ERR_SHAPE, "it ran, but there is no table %s after it: does it"
				" name _DEST_TABLE?", list[i].name);
	return e->code;
}
