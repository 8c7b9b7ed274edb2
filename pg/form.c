/*
 * The form of PgQ's query for a batch's events, kept on a connection from batch to batch: to ask
 * PgQ for the query takes as long as the rest of next_batch. See snapshot.c.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

#define FORM_MS 60000                   /* a form is as old at most */

bool form_is_kept(const struct pq *src)
{
	return src->form.same && clock_ms() - src->form.learned_ms < FORM_MS;
}

static void forget_next(struct form *f)
{
	free(f->next_snapshot);
	f->next_snapshot = NULL;
	f->next = 0;
}

void form_free(struct form *f)
{
	forget_next(f);
	snapshot_forget(&f->query);
	free(f->same);
	free(f->snapshot);
	*f = (struct form){ 0 };
}

/* ---- asking PgQ, and learning from its answer */

void form_add_query(struct buf *sql, const struct pq *src, const struct numbers *n)
{
	buf_fmt(sql, "(SELECT tick_snapshot FROM \1.tick WHERE tick_queue = %s"
		" AND tick_id = cur_tick_id), (SELECT tick_snapshot FROM \1.tick"
		" WHERE tick_queue = %s AND tick_id = prev_tick_id),"
		" CASE WHEN batch_id IS NOT NULL THEN \1.batch_event_sql(batch_id) END",
		n->queue.p, n->queue.p);
	if (!src->schema || strcmp(src->schema, "pgq") != 0)    /* PgQue's query is another */
		buf_str(sql, ", NULL, NULL");
	else
		buf_fmt(sql, ", (SELECT format('%%s_%%s q.xmin = ''%%s'' AND q.ctid = ''%%s''',"
			" queue_data_pfx, queue_cur_table, q.xmin, q.ctid) FROM \1.queue q"
			" WHERE q.queue_id = %s), (SELECT sub_id FROM \1.subscription"
			" WHERE sub_queue = %s AND sub_consumer = %s)",
			n->queue.p, n->queue.p, n->consumer.p);
}

/* The batch's last tick is the next one's first. */
static void keep_snapshot(struct form *f, int64_t tick, const char *snapshot)
{
	char *kept = mem_text(snapshot);

	free(f->snapshot);
	f->snapshot = kept;
	f->tick = tick;
}

static void learn(struct pq *src, const struct queue_batch *batch, const char *events,
	const struct snapshot_ticks *t, const char *same, int64_t subscription)
{
	struct form *f = &src->form;
	const char *space = same ? strchr(same, ' ') : NULL;

	forget_next(f);
	free(f->same);
	f->same = NULL;
	if (!space || !snapshot_learn(&f->query, events, t,
	    (struct span){ same, (size_t)(space - same) }))
		return;
	f->same = mem_text(space + 1);
	f->subscription = subscription;
	f->queue = src->queue_id;
	f->consumer = src->consumer_id;
	f->learned_ms = clock_ms();
	keep_snapshot(f, batch->tick, t->after);
}

void form_take_query(struct pq *src, struct queue_batch *batch, int col)
{
	const struct snapshot_ticks ticks = {
		src->queue_id, batch->prev_tick, batch->tick,
		pq_value(src, 0, col + 1), pq_value(src, 0, col),
	};
	const char *events = pq_value(src, 0, col + 2);
	char *ours = snapshot_query(events, &ticks);

	batch->event_sql = ours ? ours : mem_text(events);
	learn(src, batch, events, &ticks, pq_value(src, 0, col + 3), pq_int(src, 0, col + 4, 0));
}

/* ---- without asking PgQ */

/* Tick and queue are seen by one snapshot, that of the statement. A rotation that it does not see
 * was not committed when that was taken, so what has written to a newer table was not either, and a
 * tick that it sees does not see that: the tick's events are in the tables that the queue's row
 * tells of. A row that was updated has another xmin or ctid. To plan a join takes longer. */
void form_add_ticks(struct buf *sql, const struct pq *src, const struct numbers *n, bool next)
{
	const struct form *f = &src->form;

	buf_fmt(sql, "(SELECT %s FROM \1.queue q WHERE q.queue_id = %s) AND (SELECT sub_id"
		" FROM \1.subscription WHERE sub_queue = %s AND sub_consumer = %s) = %" PRId64 ", ",
		f->same, n->queue.p, n->queue.p, n->consumer.p, f->subscription);
	if (next)
		buf_str(sql, "t.tick_id, t.tick_snapshot, " TIME_US("t.tick_time"));
	else
		buf_fmt(sql, "cur_tick_id, (SELECT tick_snapshot FROM \1.tick"
			" WHERE tick_queue = %s AND tick_id = cur_tick_id)", n->queue.p);
}

void form_add_join(struct buf *sql, const struct numbers *n)
{
	buf_fmt(sql, " LEFT JOIN LATERAL (SELECT tick_id, tick_snapshot, tick_time FROM \1.tick"
		" WHERE tick_queue = %s AND tick_id >= cur_tick_id ORDER BY tick_id LIMIT 2) t"
		" ON true", n->queue.p);
}

/* Keeps the tick after the batch's, if there is one, for form_foresee. */
static void keep_next(struct pq *src, const struct queue_batch *batch, int col)
{
	struct form *f = &src->form;

	forget_next(f);
	if (pq_rows(src) < 2 || pq_int(src, 1, col + 1, 0) <= batch->tick)
		return;
	f->next = pq_int(src, 1, col + 1, 0);
	f->next_snapshot = mem_text(pq_value(src, 1, col + 2));
	f->next_us = pq_int(src, 1, col + 3, 0);
}

bool form_fill(struct pq *src, struct queue_batch *batch, int col)
{
	struct form *f = &src->form;
	const char *same = pq_value(src, 0, col), *after = pq_value(src, 0, col + 2);

	if (!same || *same != 't' || !after || pq_int(src, 0, col + 1, 0) != batch->tick ||
	    batch->prev_tick != f->tick || src->queue_id != f->queue ||
	    src->consumer_id != f->consumer)
		return false;
	batch->event_sql = snapshot_fill(&f->query, f->snapshot, after);
	if (!batch->event_sql)
		return false;
	keep_snapshot(f, batch->tick, after);
	keep_next(src, batch, col);
	return true;
}

bool form_foresee(const struct pq *src, const struct queue_batch *batch, struct queue_batch *next)
{
	const struct form *f = &src->form;

	if (!form_is_kept(src) || !f->next || f->tick != batch->tick)
		return false;
	*next = (struct queue_batch){
		.tick = f->next, .prev_tick = f->tick, .tick_us = f->next_us,
		.prev_us = batch->tick_us,
		.event_sql = snapshot_fill(&f->query, f->snapshot, f->next_snapshot),
	};
	return next->event_sql;
}
