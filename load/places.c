/*
 * Where rows go: from an event's columns to the stream of a partition.
 */
#include <string.h>

#include "load.h"

/* Without an answer all rows go as text. No connection is opened for the question: it might wait for
 * ours, where their number is limited. */
static bool find_types(void *job, const char *table, const struct shape *shape, enum binary_kind *kinds)
{
	struct job *j = job;
	struct err e = { 0 };
	bool known = false;

	if (!j->ddl || pq_in_transaction(j->ddl))
		return false;
	if (part_kinds(j->ddl, &j->conf->dest, span_of(table), shape, kinds, &known, &e) < 0) {
		log_debug("partition %s: rows go as text: %s", table, e.msg);
		pq_close(j->ddl);
		j->ddl = NULL;
	}
	return known;
}

void places_open(struct places *at, struct job *j)
{
	const struct dest *d = &j->conf->dest;

	if (at->route)
		return;
	at->route = route_new(d->field, d->nfield, dest_part_column(d).p);
	at->sink = sink_new(find_types, j);
}

void places_forget(struct places *at)
{
	if (at->sink)
		sink_forget(at->sink);
}

void places_free(struct places *at)
{
	route_free(at->route);
	sink_free(at->sink);
	*at = (struct places){ 0 };
}
