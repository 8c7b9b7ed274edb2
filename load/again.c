/*
 * A batch whose loading failed: does it help to load it again, in another way, or as single ticks?
 */
#include <inttypes.h>

#include "private.h"

/* Have binary rows gone to columns of other types, or NULLs to columns with defaults? That is seen
 * before the commit, or the former by an error, which may be one of the connection. Then no types
 * are trusted in the next pass, or no rows filled. */
static bool is_mistyped(struct job *j, const struct err *e)
{
	bool mistyped = j->mistyped;

	j->mistyped = false;
	if (sqlstate_is(e->sqlstate, SQLSTATE_BAD_BINARY))
		for (size_t i = 0; i < j->dests.nplace; i++)
			mistyped |= known_distrust(&j->dests.place[i]->known);
	if (mistyped)
		log_debug("column types or defaults were others: the batch is loaded again: %s",
			e->msg);
	return mistyped;
}

/* Was a COPY refused that may have named more columns than its events do? */
static bool is_misfilled(const struct pass *p, const struct err *e)
{
	if ((e->code != ERR_SHAPE && e->code != ERR_RIGHTS) || !p->fault.table[0] ||
	    !fill_doubt(p->job->dests.place[p->fault.of]))
		return false;
	log_debug("rows get the columns of their events alone: %s", e->msg);
	return true;
}

bool again_helps(struct pass *p, bool *forgot, const struct err *e)
{
	if (p->incomplete) {
		log_debug("all events are staged: %s", e->msg);
		p->newest = false;
		return true;
	}
	if (p->finishes && p->job->dests.fails_last && !sqlstate_is_lost(e)) {
		log_debug("new partitions are finished before their rows: %s", e->msg);
		p->finishes = false;
		p->careful = e->code == ERR_DATA;
		return true;
	}
	if (is_mistyped(p->job, e) || is_misfilled(p, e))
		return true;
	if (p->rekeyed && !p->ordered) {
		log_debug("events are read by ev_id: %s", e->msg);
		p->ordered = true;
		p->direct = p->careful = false;
		return true;
	}
	if (p->direct && (p->mixed || sqlstate_is(e->sqlstate, SQLSTATE_DUPLICATE)) &&
	    stagings_not_direct(p->job->dests.stagings)) {
		log_debug("inserts are staged as all others are: %s", e->msg);
		p->direct = p->careful = false;
		return true;
	}
	if ((e->code != ERR_DATA && e->code != ERR_SHAPE) || !p->fault.table[0])
		return false;
	if (p->event < 0 && !p->careful) {
		p->careful = true;
		fill_suspect(p->job->dests.place[p->fault.of]);
		return true;
	}
	if (e->code == ERR_SHAPE && !*forgot) {
		*forgot = true;         /* a known partition may have been dropped since */
		places_forget(&p->job->dests);
		return true;
	}
	return false;
}

bool again_is_too_large(const struct pass *p, const struct err *e)
{
	const struct queue_batch *b = p->batch;

	return sqlstate_is(e->sqlstate, SQLSTATE_TOO_MUCH) && b->tick > b->prev_tick + 1 &&
		p->job->single_until < b->tick;
}

int again_split(struct pass *p, struct err *e)
{
	struct job *j = p->job;
	const struct queue_batch *b = p->batch;

	log_warn("batch %" PRId64 " of ticks %" PRId64 "-%" PRId64 " is too large: %s;"
		" going tick by tick", b->id, b->prev_tick, b->tick, e->msg);
	*e = (struct err){ 0 };
	j->single_until = b->tick;
	job_disconnect(j);
	if (job_connect(j, e) < 0 ||
	    consumer_rewind(j->src, j->conf->queue_name, j->conf->consumer_name, b->prev_tick,
		e) < 0)
		return e->code;
	return TXN_MOVED;
}
