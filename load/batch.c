/*
 * One batch, from next_batch to finish_batch, and the order of the transactions on both servers:
 *
 *   source                          target
 *   next_batch                      BEGIN, lock on the position, the tick known there
 *   COPY events out is sent
 *   its rows are taken       ->     COPY rows in, a partition at a time
 *                                   dead letters, set_last_tick, COMMIT
 *   finish_batch, with the next next_batch
 *
 * The events of a batch never change, so the source may select them while the target is asked
 * whether they are wanted; if not, they are dropped. Where a batch is likely to come, the target is
 * asked before it is there.
 *
 * A kill before the COMMIT undoes everything, and the batch comes again. After a later kill it
 * comes again too, and the target's tick says that it is loaded.
 */
#include <inttypes.h>

#include "private.h"

#define LEARN_MAX 16                    /* tables whose types are asked for before a batch */

/* ---- dead letters */

/* Each once, however often the batch is read. */
static void log_skips(struct pass *p)
{
	struct letters *dead = &p->dead;

	for (size_t i = letters_told(dead); i < dead->n; i++) {
		const char *partition = letters_text(dead, i, LETTER_PARTITION);
		if (letters_log_has(p->logged, dead->at[i].event))
			continue;
		log_warn("event %" PRId64 " of batch %" PRId64 " skipped%s%s: %s",
			dead->at[i].event, p->batch->id, *partition ? ", partition " : "",
			partition, letters_text(dead, i, LETTER_MESSAGE));
	}
	letters_log_add(p->logged, dead);
	letters_drop_texts(dead);
}

/* Stores the dead letters in the transactions of the good rows, or logs the skipped events. src:
 * reads the events, and is idle. */
static int keep_dead(struct pass *p, struct pq *src, struct err *e)
{
	struct job *j = p->job;

	if (j->conf->on_error == ON_ERROR_SKIP)
		log_skips(p);
	if (j->conf->on_error == ON_ERROR_DEAD_LETTER)
		dead_write(&p->dead, src, j->dst, j->conf, p->batch, e);
	return e->code;
}

/* A pass's tell. While that reads its events, theirs are read on a connection of their own; if the
 * source takes none, they are told after the pass. */
static int keep_some(struct pass *p, struct err *e)
{
	struct job *j = p->job;
	bool busy = !p->read && j->conf->on_error == ON_ERROR_DEAD_LETTER;
	struct pq *src = busy ? queue_open(j->conf, NULL, e) : j->src;

	if (busy && connect_failed(e)) {
		log_warn("batch %" PRId64 ": its bad events are kept in memory until all of it is"
			" read: %s", p->batch->id, e->msg);
		*e = (struct err){ 0 };
		p->tell = NULL;
		return 0;
	}
	if (!e->code)
		keep_dead(p, src, e);
	if (busy)
		pq_close(src);
	return e->code;
}

/* ---- loading */

static void begin(struct loader *l)
{
	letters_log_begin(&l->skipped, l->batch.id);
	watch_begin(l->job->watch, &l->batch);
}

/* After a pass: a batch that was foreseen must be the one that the queue gives. */
static int make_sure(struct loader *l, struct pass *p, struct err *e)
{
	if (!p->job->unsure)
		return 0;
	if (ahead_make_sure(l, p, e) < 0)
		return e->code;
	p->tell = keep_some;
	begin(l);
	return 0;
}

/* Not of all where there are many: a batch has rows of few, and waits for each answer. */
static int learn_types(struct job *j, struct err *e)
{
	size_t n = j->dests.nplace <= LEARN_MAX ? j->dests.nplace : 0;

	for (size_t i = 0; i < n && !e->code; i++)
		known_learn(&j->dests.place[i]->known, j->dst[0], e);
	return e->code ? e->code : fill_ask(&j->dests, j->dst[0], n > 0, e);
}

static int commit(struct loader *l, struct pass *p, struct err *e)
{
	struct job *j = p->job;
	bool ahead = ahead_ask(l, p);

	if (txn_commit(j, p->batch, p->sink, e) < 0) {
		outcome_keep_half(l, p);
		places_forget(&j->dests);
		return e->code;
	}
	p->committed_ms = clock_ms();
	if (ahead)
		ahead_keep(l, p);
	inside_committed(&j->dests);
	fill_committed(&j->dests, p->dead.n || p->dead.nleft);
	stagings_committed(j->dests.stagings);
	return TXN_TO_LOAD;
}

/* Loads and commits the batch in the lanes that do not have it. An enum txn_verdict, or an
 * error. */
static int load(struct loader *l, struct pass *p, struct err *e)
{
	struct job *j = p->job;
	int again;

	do {
		p->from = j->src;
		int verdict = pass_ask(p, e) < 0 ? e->code : txn_begin(j, p->batch, e);
		if (verdict != TXN_TO_LOAD)
			return verdict;
		if (l->lanes != j->lanes)
			places_forget(&j->dests);
		l->lanes = j->lanes;
		if (learn_types(j, e) < 0)
			return e->code;
		again = pass_run(p, e);
		fill_end(&j->dests);
		if (again < 0 || make_sure(l, p, e) < 0)
			return e->code;
	} while (again);
	if (inside_index(j, p->events, e) < 0 || merge_run(p, e) < 0)
		return e->code;
	if (keep_dead(p, j->src, e) < 0 || (l->verify && verify_run(p, e) < 0))
		return e->code;
	return commit(l, p, e);
}

/* As load; repeats a failed pass where that helps, and describes the last error. */
static int load_or_blame(struct loader *l, struct pass *p, struct err *e)
{
	struct job *j = p->job;
	bool forgot = false;
	int verdict;

	while ((verdict = load(l, p, e)) < 0 && !j->unsure) {
		if (again_is_too_large(p, e))
			return again_split(p, e);
		if (!again_helps(p, &forgot, e)) {
			blame_batch(p, e);
			return e->code;
		}
		*e = (struct err){ 0 };
		p->event = -1;          /* an error before the next pass is not about this row */
		p->fault = (struct sink_fault){ .event = -1 };
		job_disconnect(j);
		if (job_connect(j, e) < 0)
			return e->code;
	}
	return j->unsure ? ahead_give_up(l, e) : verdict;
}

static int load_batch(struct loader *l, struct err *e)
{
	struct job *j = l->job;
	const struct queue_batch *batch = &l->batch;
	struct pass p = {
		.job = j, .batch = batch, .sink = j->dests.sink, .event = -1, .direct = true,
		.merge = merge_run, .tell = j->unsure ? NULL : keep_some,
		.finishes = !j->dests.fails_last,
		.newest = !l->verify,   /* the second reading stages all */
		.keep = j->conf->on_error != ON_ERROR_STOP,
		.max_dead = j->conf->max_errors, .logged = &l->skipped,
	};
	int64_t start_ms = clock_ms();

	begin(l);
	int verdict = load_or_blame(l, &p, e);
	if (verdict == TXN_TO_LOAD) {
		l->events += p.events;
		outcome_tell(l, &p, p.committed_ms - start_ms);
	}
	letters_clear(&p.dead);
	if (verdict < 0)
		return e->code;
	if (verdict == TXN_MOVED)
		return 1;
	if (verdict == TXN_IS_IN)
		log_info("batch %" PRId64 " is in the target already: finishing it", batch->id);
	l->to_finish = batch->id;
	l->last_tick = batch->tick;
	return 1;
}

int batch_run(struct loader *l, struct err *e)
{
	struct job *j = l->job;
	int ticks = ahead_look(l, e);

	if (ticks < 0 || ticks == TICKS_NONE || age_ask(j, e) < 0)
		return e->code;
	if (ahead_is_likely(l, ticks) && !follow_asks(j) && txn_ask(j, e) < 0)
		return e->code;
	int rc = ahead_take(l, ticks, e);
	if (rc == 0 && txn_unask(j, e) < 0)
		return e->code;
	places_open(j);
	if (rc > 0 && follow_copy(j, &l->batch, e) < 0)
		rc = e->code;
	if (rc > 0)
		rc = load_batch(l, e);
	qbatch_free(&l->batch);
	return rc == 0 && txn_idle(j, e) < 0 ? e->code : rc;
}

int batch_finish(struct loader *l, struct err *e)
{
	struct job *j = l->job;

	if (!l->to_finish)
		return 0;
	if (!j->src)
		return err_set(e, ERR_CONN, "src_db: not connected");
	if (qbatch_finish(j->src, l->to_finish, e) == 0)
		l->to_finish = 0;
	return e->code;
}

void batch_free(struct loader *l)
{
	places_free(&l->job->dests);
	tally_clear(&l->half);
	tally_clear(&l->half_dests);
	letters_log_free(&l->skipped);
	qbatch_free(&l->batch);
	qbatch_free(&l->ahead);
	*l = (struct loader){ .job = l->job, .verify = l->verify };
}
