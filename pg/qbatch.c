/*
 * The batches that a queue gives its consumer: opened, looked at, finished. Each comes with the
 * query for its events.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

/* A tick at an end of the consumer's batch that PgQ does not have: somebody deleted it. */
static bool lacks_tick(struct pq *src, const char *queue, const char *consumer, struct err *e)
{
	struct buf sql = { 0 };
	struct err ignored = { 0 };

	buf_str(&sql, "SELECT k, sub_batch FROM \1.queue, \1.consumer, \1.subscription,"
		" unnest(ARRAY[sub_last_tick, sub_next_tick]) k WHERE sub_queue = queue_id"
		" AND sub_consumer = co_id AND k IS NOT NULL AND NOT EXISTS (SELECT FROM \1.tick"
		" WHERE tick_queue = queue_id AND tick_id = k) AND (queue_name, co_name) = (");
	queue_add_names(&sql, queue, consumer);
	buf_str(&sql, ") ORDER BY k");
	int rc = pq_query(src, "ROLLBACK", &ignored);
	if (rc == 0)
		rc = queue_run(src, &sql, &ignored);
	buf_free(&sql);
	if (rc < 0 || !pq_rows(src))
		return false;
	*e = (struct err){ 0 };
	err_set(e, ERR_POSITION, "src_db: PgQ has no tick %" PRId64 ", at which the batch %" PRId64
		" of consumer %s on queue %s begins or ends: somebody deleted it. Nothing was"
		" written."
		" --rewind gives up that batch and sets the queue to the target's tick, if PgQ"
		" still"
		" has it; --reset forgets that tick, to start with what comes from now on",
		pq_int(src, 0, 0, 0), pq_int(src, 0, 1, 0), consumer, queue);
	return true;
}

/* PgQ's plain exceptions: the consumer is gone; or a tick is, or the batch, which another process
 * finished in this very moment. */
static int no_batch(struct pq *src, const char *queue, const char *consumer, struct err *e)
{
	struct queue_state state;
	struct err ignored = { 0 };

	if (!sqlstate_is(e->sqlstate, SQLSTATE_RAISED) || lacks_tick(src, queue, consumer, e))
		return e->code;
	e->code = ERR_POSITION;
	if (strstr(e->msg, "batch") && pq_query(src, "ROLLBACK", &ignored) == 0 &&
	    queue_state(src, queue, consumer, &state, &ignored) == 0 && state.consumer)
		return e->code = ERR_CONFLICT;
	err_add(e, ". --rewind registers the consumer at the target's tick;"
		" --reset forgets that tick, to start with what comes from now on");
	return e->code;
}

/* Appends the number of pending events, which PgQ's counters of ticks estimate. To plan a join
 * takes longer than to run these. */
static void add_pending(struct buf *sql, const struct numbers *n)
{
	buf_fmt(sql, "(SELECT tick_event_seq FROM \1.tick WHERE tick_queue = %s"
		" ORDER BY tick_id DESC LIMIT 1) - (SELECT tick_event_seq FROM \1.tick"
		" WHERE tick_queue = %s AND tick_id = (SELECT sub_last_tick FROM \1.subscription"
		" WHERE sub_queue = %s AND sub_consumer = %s))",
		n->queue.p, n->queue.p, n->queue.p, n->consumer.p);
}

/* PgQ's min_count is min_events or, where fewer are pending, their number: it returns nothing while
 * fewer than min_count events are pending. */
static void add_next(struct buf *sql, struct pq *src, const char *queue, const char *consumer,
	int64_t min_events, bool form, bool next)
{
	struct numbers n = ticks_numbers(src, queue, consumer);

	buf_fmt(sql, "SELECT batch_id, cur_tick_id, prev_tick_id, " AGE_MS("cur_tick_time") ", "
		TIME_US("cur_tick_time") ", " TIME_US("prev_tick_time") ", %s, %s, ",
		n.queue.p, n.consumer.p);
	if (form)
		form_add_ticks(sql, src, &n, next);
	else
		form_add_query(sql, src, &n);
	buf_fmt(sql, " FROM \1.next_batch_%s(", min_events ? "custom" : "info");
	queue_add_names(sql, queue, consumer);
	if (min_events) {
		buf_fmt(sql, ", NULL, least(%" PRId64 ", ", min_events);
		add_pending(sql, &n);
		buf_str(sql, ")::int4, NULL");
	}
	buf_str(sql, ")");
	if (form && next)
		form_add_join(sql, &n);
	ticks_free_numbers(&n);
}

#define COLUMNS 8                       /* that add_next asks for, before those of form.c */

static int take_batch(struct pq *src, struct queue_batch *batch)
{
	if (pq_rows(src))
		ticks_keep_numbers(src, pq_int(src, 0, 6, 0), pq_int(src, 0, 7, 0));
	if (!pq_rows(src) || !pq_value(src, 0, 0))
		return 0;
	*batch = (struct queue_batch){
		.id = pq_int(src, 0, 0, 0),
		.tick = pq_int(src, 0, 1, 0), .prev_tick = pq_int(src, 0, 2, 0),
		.tick_us = pq_int(src, 0, 4, 0), .prev_us = pq_int(src, 0, 5, 0),
		.lag_ms = pq_int(src, 0, 3, 0),
	};
	return 1;
}

static int ask_query(struct pq *src, struct queue_batch *batch, struct err *e)
{
	struct numbers n = ticks_kept_numbers(src);
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT ");
	form_add_query(&sql, src, &n);
	buf_fmt(&sql, " FROM (SELECT %" PRId64 "::int8, %" PRId64 "::int8, %" PRId64 "::int8)"
		" b (batch_id, cur_tick_id, prev_tick_id)", batch->id, batch->tick,
		batch->prev_tick);
	ticks_free_numbers(&n);
	if (queue_run(src, &sql, e) == 0)
		form_take_query(src, batch, 0);
	return e->code;
}

/* As qbatch_answer. */
static int take(struct pq *src, bool form, struct queue_batch *batch, struct err *e)
{
	if (!take_batch(src, batch))
		return 0;
	if (!form)
		form_take_query(src, batch, COLUMNS);
	else if (!form_fill(src, batch, COLUMNS) && ask_query(src, batch, e) < 0)
		return e->code;
	return 1;
}

int qbatch_ask(struct pq *src, const char *queue, const char *consumer, int64_t min_events,
	int64_t finish, struct err *e)
{
	struct buf sql = { 0 };

	src->form.asks = form_is_kept(src);
	if (finish)
		buf_fmt(&sql, "SELECT \1.finish_batch(%" PRId64 ");", finish);
	/* after a batch one more may be there, and yet another */
	add_next(&sql, src, queue, consumer, min_events, src->form.asks, finish && !min_events);
	return queue_send(src, &sql, e);
}

int qbatch_answer(struct pq *src, const char *queue, const char *consumer,
	struct queue_batch *batch, struct err *e)
{
	int rc = pq_answer(src, e) < 0 ? e->code : take(src, src->form.asks, batch, e);

	return rc < 0 ? no_batch(src, queue, consumer, e) : rc;
}

bool qbatch_foresee(const struct pq *src, const struct queue_batch *batch, struct queue_batch *next)
{
	return form_foresee(src, batch, next);
}

int qbatch_peek(struct pq *src, const char *queue, const char *consumer, int64_t min_events,
	struct queue_batch *batch, struct err *e)
{
	struct buf sql = { 0 };

	add_next(&sql, src, queue, consumer, min_events, false, false);
	int rc = queue_try(src, &sql, e) == 0 ? take(src, false, batch, e) : e->code;
	return rc < 0 ? no_batch(src, queue, consumer, e) : rc;
}

void qbatch_free(struct queue_batch *batch)
{
	free(batch->event_sql);
	batch->event_sql = NULL;
}

int qbatch_finish(struct pq *src, int64_t batch, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT \1.finish_batch(%" PRId64 ")", batch);
	return queue_run(src, &sql, e);
}

int qbatch_active(struct pq *src, int64_t batch, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT tick_id FROM \1.get_batch_info(%" PRId64 ")", batch);
	if (queue_run(src, &sql, e) == 0)
		*yes = pq_value(src, 0, 0);
	return e->code;
}
