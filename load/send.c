/*
 * Sending what streams hold: each lane to its server. Rows that the target refuses become dead
 * letters.
 */
#include <stdio.h>

#include "private.h"

int send_bury(struct pass *p, int64_t event, size_t lane, const char *partition, struct err *e)
{
	const struct letter_place place = { partition, p->fault.column, p->fault.value };
	char why[sizeof e->msg];

	p->event = event;
	if (e->code != ERR_DATA || !p->keep)
		return e->code;
	if (letters_are_full(&p->dead, event, p->max_dead)) {
		snprintf(why, sizeof why, "%s", e->msg);
		snprintf(e->msg, sizeof e->msg, "%.900s; the batch has more such events than"
			" max_errors = %lld", why, (long long)p->max_dead);
		return e->code;
	}
	letters_add(&p->dead, event, lane, &place, e);
	p->event = -1;
	*e = (struct err){ 0 };
	return 0;
}

/* Was an insert refused that went straight to its partition, because the key has a row? */
static bool is_of_key(const struct pass *p, const struct err *e)
{
	const struct dest *d = p->job->dests.place[p->fault.of]->dest;

	return p->direct && d->row_mode == ROWS_KEEP_LATEST &&
		sqlstate_is(e->sqlstate, SQLSTATE_DUPLICATE);
}

int send_lane(struct pass *p, size_t lane, enum sink_until until, struct err *e)
{
	struct sink *sink = p->sink;
	struct pq *dst = p->job->dst[lane];
	int open = 1;

	while (!pq_blocked(dst) &&
	       (open = lane_pump(sink, lane, dst, until, &p->fault, e)) < 0) {
		style_explain(&p->job->style, e);
		p->event = p->fault.event;
		if (p->event < 0 || is_of_key(p, e) ||
		    send_bury(p, p->event, lane, p->fault.table, e) < 0)
			return e->code;
		p->rows--;
		p->fault = (struct sink_fault){ .event = -1 };
	}
	return open;
}

int send_free(struct pass *p, struct err *e)
{
	int open = 0;

	for (size_t i = 0; i < p->job->lanes && open >= 0; i++)
		while ((open = send_lane(p, i, SINK_FREE, e)) > 0)
			if (pq_wait(&p->job->dst[i], 1, -1, e) < 0)
				return e->code;
	return open;
}

int send_wait(struct pass *p, bool source, int64_t timeout_ms, struct err *e)
{
	struct job *j = p->job;
	struct pq *from = p->reader ? p->reader->from : p->from;
	struct pq *set[LANES_MAX + 1] = { source ? from : NULL };

	for (size_t i = 0; i < j->lanes; i++)
		set[i + 1] = j->dst[i];
	return pq_wait(set, j->lanes + 1, timeout_ms, e);
}
