/*
 * The queue's next batch: asked for, or foreseen.
 *
 * Where ticks are not merged and the next one is there already, the next batch is foreseen. While
 * the target commits, the source reads its events, if they are few: they wait in memory. While the
 * source finishes a batch and opens the next, the target takes the rows of the one that was
 * foreseen. They are committed if that is the one which next_batch gave; else they are rolled back,
 * and the batch is taken as any other.
 */
#include <string.h>

#include "private.h"

#define AHEAD_EVENTS 1000               /* of a small batch; the next may well be another */
#define AHEAD_NOT 50                    /* batches without reading ahead, after it was in vain */

/* Are the batches after that tick single ones? */
static bool are_single(const struct loader *l, int64_t tick)
{
	return !l->job->conf->batch_min_events || tick < l->job->single_until;
}

/* ---- asking for it */

int ahead_look(const struct loader *l, struct err *e)
{
	return !l->idle || l->to_finish || !l->last_tick ? TICKS_UNKNOWN :
		ticks_after(l->job->src, l->last_tick, e);
}

/* After several batches in a row comes one more; after a first one the queue is often empty. What
 * was seen in vain is no tick of ours: another process is further. */
bool ahead_is_likely(const struct loader *l, int ticks)
{
	return ticks != TICKS_UNKNOWN ? !l->in_vain : l->in_a_row > 1;
}

/* There is nothing to merge with the only tick. */
static int64_t min_events(const struct loader *l, int ticks)
{
	bool single = ticks == TICKS_ONE || are_single(l, l->last_tick);

	return single ? 0 : l->job->conf->batch_min_events;
}

/* Takes qbatch_answer. */
static int take_batch(struct loader *l, int ticks, struct queue_batch *batch, struct err *e)
{
	const struct conf *c = l->job->conf;
	int rc = qbatch_answer(l->job->src, c->queue_name, c->consumer_name, batch, e);

	if (rc >= 0)
		l->to_finish = 0;
	l->idle = rc == 0;
	l->in_vain = rc == 0 && (l->in_vain || ticks != TICKS_UNKNOWN);
	l->in_a_row = rc > 0 ? l->in_a_row + 1 : 0;
	return rc;
}

int ahead_take(struct loader *l, int ticks, struct err *e)
{
	struct job *j = l->job;
	const struct conf *c = j->conf;
	int64_t min = min_events(l, ticks);

	if (qbatch_ask(j->src, c->queue_name, c->consumer_name, min, l->to_finish, e) < 0)
		return e->code;
	j->unsure = l->ahead.event_sql && l->to_finish && !min && events_are_kept(j->src);
	if (!j->unsure)
		return take_batch(l, ticks, &l->batch, e);
	l->batch = l->ahead;
	l->ahead = (struct queue_batch){ 0 };
	return 1;
}

/* ---- reading it ahead */

/* May the source be asked for its clock when the batch is told of? */
static bool wants_clock(const struct job *j)
{
	return conf_keeps(j->conf) && !j->clocks.known;
}

bool ahead_ask(struct loader *l, const struct pass *p)
{
	struct err ignored = { 0 };

	qbatch_free(&l->ahead);
	if (l->not_ahead > 0 && l->not_ahead--)
		return false;
	if (l->verify || p->events > AHEAD_EVENTS || !are_single(l, p->batch->tick) ||
	    follow_asks(p->job) || wants_clock(p->job))
		return false;
	return qbatch_foresee(p->job->src, p->batch, &l->ahead) &&
		pass_ask_ahead(p, &l->ahead, &ignored) == 0;
}

void ahead_keep(struct loader *l, const struct pass *p)
{
	struct job *j = l->job;
	struct err why = { 0 };

	watch_pass(j->watch, p->events, sink_bytes(p->sink));
	int kept = events_keep(j->src, &why);
	if (kept > 0)
		return;
	qbatch_free(&l->ahead);
	l->not_ahead = AHEAD_NOT;
	if (kept < 0) {
		if (why.code != ERR_STOP)
			log_warn("%s; connecting to it again", why.msg);
		pq_close(j->src);
		j->src = NULL;
	}
}

static bool is_same(const struct queue_batch *a, const struct queue_batch *b)
{
	return a->tick == b->tick && a->prev_tick == b->prev_tick && a->tick_us == b->tick_us &&
		a->prev_us == b->prev_us && strcmp(a->event_sql, b->event_sql) == 0;
}

int ahead_make_sure(struct loader *l, const struct pass *p, struct err *e)
{
	struct queue_batch given = { 0 };

	watch_pass(p->job->watch, p->events, sink_bytes(p->sink));
	int rc = take_batch(l, TICKS_UNKNOWN, &given, e);
	if (rc > 0 && is_same(&given, &l->batch)) {
		qbatch_free(&l->batch);
		l->batch = given;
		p->job->unsure = false;
		return 0;
	}
	qbatch_free(&given);
	return err_set(e, ERR_CONFLICT, "the queue's next batch is another");
}

int ahead_give_up(struct loader *l, struct err *e)
{
	struct job *j = l->job;

	log_debug("what was read ahead is given up: %s", e->msg);
	j->unsure = false;
	l->not_ahead = AHEAD_NOT;
	if (sqlstate_is_lost(e))
		return e->code;
	*e = (struct err){ 0 };
	job_disconnect(j);
	places_forget(&j->dests);
	return TXN_MOVED;
}
