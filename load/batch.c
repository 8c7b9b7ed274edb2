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
 * Where ticks are not merged and the next one is there already, the next batch is foreseen. While
 * the target commits, the source reads its events, if they are few: they wait in memory. While the
 * source finishes a batch and opens the next, the target takes the rows of the one that was
 * foreseen. They are committed if that is the one which next_batch gave; else they are rolled back,
 * and the batch is taken as any other.
 *
 * A kill before the COMMIT undoes everything, and the batch comes again. After a later kill it
 * comes again too, and the target's tick says that it is loaded.
 */
#include <inttypes.h>
#include <string.h>

#include "load.h"

#define AHEAD_EVENTS 1000               /* of a small batch; the next may well be another */
#define AHEAD_NOT 50                    /* batches without reading ahead, after it was in vain */
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

/* ---- the batch that is foreseen */

/* Are the batches after that tick single ones? */
static bool are_single(const struct loader *l, int64_t tick)
{
	return !l->job->conf->batch_min_events || tick < l->job->single_until;
}

/* May the source be asked for its clock when the batch is told of? */
static bool wants_clock(const struct job *j)
{
	bool keeps = false;

	for (size_t i = 0; conf_dest(j->conf, i); i++)
		keeps |= conf_dest(j->conf, i)->keep.unit != PERIOD_NONE;
	return keeps && !j->clocks.known;
}

/* While the target commits a small batch, the source may read the events of the next one, if that
 * can be told, and nobody else needs it. false: it has not been asked. */
static bool ask_ahead(struct loader *l, const struct pass *p)
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

/* The events wait for the next batch. If they cannot be had, src is closed. */
static void keep_ahead(struct loader *l, const struct pass *p)
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

static bool is_same(const struct queue_batch *a, const struct queue_batch *b)
{
	return a->tick == b->tick && a->prev_tick == b->prev_tick && a->tick_us == b->tick_us &&
		a->prev_us == b->prev_us && strcmp(a->event_sql, b->event_sql) == 0;
}

static void begin(struct loader *l)
{
	letters_log_begin(&l->skipped, l->batch.id);
	watch_begin(l->job->watch, &l->batch);
}

/* After a pass over a batch that was foreseen: has the queue given that one? Nothing is committed
 * before. An error leaves it unsure. */
static int make_sure(struct loader *l, struct pass *p, struct err *e)
{
	struct queue_batch given = { 0 };

	if (!p->job->unsure)
		return 0;
	watch_pass(p->job->watch, p->events, sink_bytes(p->sink));
	int rc = take_batch(l, TICKS_UNKNOWN, &given, e);
	if (rc > 0 && is_same(&given, &l->batch)) {
		qbatch_free(&l->batch);
		l->batch = given;
		p->job->unsure = false;
		p->tell = keep_some;
		begin(l);
		return 0;
	}
	qbatch_free(&given);
	return err_set(e, ERR_CONFLICT, "the queue's next batch is another");
}

/* Nothing is known of a batch that is unsure, whatever went wrong with it: it is taken anew. A lost
 * connection is an error as always. */
static int give_up(struct loader *l, struct err *e)
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

/* ---- loading */

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
	bool ahead = ask_ahead(l, p);

	if (txn_commit(j, p->batch, p->sink, e) < 0) {
		outcome_keep_half(l, p);
		places_forget(&j->dests);
		return e->code;
	}
	p->committed_ms = clock_ms();
	if (ahead)
		keep_ahead(l, p);
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

/* Should a failed pass be repeated: carefully, or after asking the target anew? */
static bool worth_another(struct pass *p, bool *forgot, const struct err *e)
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

/* Does the batch need more locks or memory than a server has, and can it be split into ticks? */
static bool is_too_large(const struct pass *p, const struct err *e)
{
	const struct queue_batch *b = p->batch;

	return sqlstate_is(e->sqlstate, SQLSTATE_TOO_MUCH) && b->tick > b->prev_tick + 1 &&
		p->job->single_until < b->tick;
}

/* Makes the batch come again as single ticks, even if the queue has opened it already. */
static int split(struct pass *p, struct err *e)
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

/* As load; repeats a failed pass where that helps, and describes the last error. */
static int load_or_blame(struct loader *l, struct pass *p, struct err *e)
{
	struct job *j = p->job;
	bool forgot = false;
	int verdict;

	while ((verdict = load(l, p, e)) < 0 && !j->unsure) {
		if (is_too_large(p, e))
			return split(p, e);
		if (!worth_another(p, &forgot, e)) {
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
	return j->unsure ? give_up(l, e) : verdict;
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

/* Does the time decide where the destination's rows go? */
static bool is_timed(const struct dest *d)
{
	bool detaches = d->part_keep_action == KEEP_DETACH && d->keep.unit != PERIOD_NONE;

	return d->part_late != PART_LATE_CREATE || detaches;
}

/* Asks for the time if it decides where rows go. Only while src is idle, so before a batch. */
static int ask_age(struct job *j, struct err *e)
{
	bool timed = false;

	for (size_t i = 0; conf_dest(j->conf, i); i++)
		timed |= is_timed(conf_dest(j->conf, i));
	return timed && !j->clocks.known ? age_look(j, e) : 0;
}

/* An enum ticks_after, or an error. While there is no batch, asking for ticks is enough. */
static int look(const struct loader *l, struct err *e)
{
	return !l->idle || l->to_finish || !l->last_tick ? TICKS_UNKNOWN :
		ticks_after(l->job->src, l->last_tick, e);
}

/* After several batches in a row comes one more; after a first one the queue is often empty. What
 * was seen in vain is no tick of ours: another process is further. */
static bool is_likely(const struct loader *l, int ticks)
{
	return ticks != TICKS_UNKNOWN ? !l->in_vain : l->in_a_row > 1;
}

/* There is nothing to merge with the only tick. */
static int64_t min_events(const struct loader *l, int ticks)
{
	bool single = ticks == TICKS_ONE || are_single(l, l->last_tick);

	return single ? 0 : l->job->conf->batch_min_events;
}

/* Asks for the next batch. 1: batch is it, or unsure; 0: there is none; or an error. */
static int next_batch(struct loader *l, int ticks, struct err *e)
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

int batch_run(struct loader *l, struct err *e)
{
	struct job *j = l->job;
	int ticks = look(l, e);

	if (ticks < 0 || ticks == TICKS_NONE || ask_age(j, e) < 0)
		return e->code;
	if (is_likely(l, ticks) && !follow_asks(j) && txn_ask(j, e) < 0)
		return e->code;
	int rc = next_batch(l, ticks, e);
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
