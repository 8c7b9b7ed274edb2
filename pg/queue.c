/*
 * The source's side: PgQ's schema, a queue's state, and the batches that it gives a consumer.
 *
 * Each statement runs in its own transaction with its own settings: SET LOCAL leaves nothing behind
 * in a pooler's connection, and overrides the role's settings.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

/* ---- the schema: pgq, or pgque */

static bool is_true(struct pq *src, int col)
{
	const char *value = pq_value(src, 0, col);

	return value && *value == 't';
}

const char *queue_schema(const struct pq *src)
{
	return src->schema ? src->schema : "pgq";
}

void queue_expand(struct buf *sql, const struct pq *src)
{
	struct buf out = { 0 };

	for (const char *p = buf_cstr(sql); *p;) {
		size_t n = strcspn(p, PGQ);
		buf_add(&out, p, n);
		p += n;
		if (*p) {
			buf_str(&out, queue_schema(src));
			p++;
		}
	}
	buf_free(sql);
	*sql = out;
}

/* Which of both are there, by the catalogue alone, for which no right is needed. */
static const char schemas_sql[] = PQ_OWN_PATH
	"SELECT coalesce(bool_or(nspname = 'pgq'), false),"
	" coalesce(bool_or(nspname = 'pgque'), false)"
	" FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace"
	" WHERE nspname IN ('pgq', 'pgque') AND proname = 'next_batch_info'";

/* Both are there: pgq unless it can be seen that it has not the queue. */
static int has_queue(struct pq *src, const char *queue, bool *yes)
{
	struct buf sql = { 0 };
	struct err ignored = { 0 };

	buf_str(&sql, PQ_OWN_PATH "SELECT 1 FROM pgq.queue WHERE queue_name = ");
	buf_literal(&sql, span_of(queue));
	*yes = pq_query(src, buf_cstr(&sql), &ignored) < 0 || pq_rows(src) > 0;
	buf_free(&sql);
	return sqlstate_is_lost(&ignored) ? ignored.code : 0;
}

int queue_find(struct pq *src, const struct conf *c, struct err *e)
{
	bool pgq, pgque, has = true;

	src->schema = c->queue_schema == QUEUE_SCHEMA_PGQUE ? "pgque" : "pgq";
	if (c->queue_schema != QUEUE_SCHEMA_AUTO)
		return 0;
	if (pq_query(src, schemas_sql, e) < 0)
		return e->code;
	pgq = is_true(src, 0);
	pgque = is_true(src, 1);
	if (pgq && pgque && has_queue(src, c->queue_name, &has) < 0)
		return err_set(e, ERR_CONN, "src_db: the connection is lost");
	if (pgque && (!pgq || !has))
		src->schema = "pgque";
	return 0;
}

struct pq *queue_open(const struct conf *c, const char *encoding, struct err *e)
{
	struct pq *src = pq_open("src_db", c->src_db, encoding, e);

	if (!src || queue_find(src, c, e) == 0)
		return src;
	pq_close(src);
	return NULL;
}

int queue_listen(struct pq *src, const char *queue, struct err *e)
{
	struct buf channel = { 0 }, sql = { 0 };

	if (strcmp(queue_schema(src), "pgque") != 0)
		return 0;
	buf_fmt(&channel, "pgque_%s", queue);
	buf_str(&sql, "LISTEN ");
	buf_ident(&sql, (struct span){ channel.p, channel.len });
	if (channel.len <= NAME_BYTES_MAX)      /* a longer one is never notified */
		pq_query(src, buf_cstr(&sql), e);
	buf_free(&channel);
	buf_free(&sql);
	return e->code;
}

/* ---- statements */

void queue_begin(struct buf *sql, const struct pq *src)
{
	buf_str(sql, "BEGIN ISOLATION LEVEL READ COMMITTED;" PQ_OWN_PATH
		"SET LOCAL client_min_messages = error;");
	pq_add_settings(sql, src, DATA_LOCK_TIMEOUT_MS);
}

/* Runs sql, and frees it, in a transaction that ends with end: COMMIT or ROLLBACK. */
static int run_to(const char *end, struct pq *src, struct buf *sql, struct err *e)
{
	struct buf all = { 0 };

	queue_begin(&all, src);
	buf_fmt(&all, "%s; %s", buf_cstr(sql), end);
	queue_expand(&all, src);
	int rc = pq_query(src, buf_cstr(&all), e);
	buf_free(&all);
	buf_free(sql);
	return rc;
}

int queue_run(struct pq *src, struct buf *sql, struct err *e)
{
	return run_to("COMMIT", src, sql, e);
}

void queue_add_names(struct buf *sql, const char *queue, const char *consumer)
{
	buf_literal(sql, span_of(queue));
	buf_str(sql, ", ");
	buf_literal(sql, span_of(consumer));
}

/* A tick's time in microseconds since 1970, and its age in milliseconds. */
#define TIME_US(time) "(extract(epoch FROM " time ") * 1000000)::bigint"
#define AGE_MS(time) "(extract(epoch FROM clock_timestamp() - " time ") * 1000)::bigint"

/* Appends the subscription of the consumer, a table s to join. */
static void add_subscription(struct buf *sql, const char *consumer)
{
	buf_str(sql, "(SELECT s.sub_id, s.sub_queue, s.sub_last_tick"
		" FROM \1.subscription s, \1.consumer c"
		" WHERE s.sub_consumer = c.co_id AND c.co_name = ");
	buf_literal(sql, span_of(consumer));
	buf_str(sql, ") s");
}

static void add_state(struct buf *sql, const char *queue, const char *consumer)
{
	buf_str(sql, "SELECT q.queue_id IS NOT NULL, s.sub_id IS NOT NULL, t.tick_id,"
		" " AGE_MS("t.tick_time") ", s.sub_last_tick"
		" FROM (SELECT 1) one LEFT JOIN \1.queue q ON q.queue_name = ");
	buf_literal(sql, span_of(queue));
	buf_str(sql, " LEFT JOIN ");
	add_subscription(sql, consumer);
	buf_str(sql, " ON s.sub_queue = q.queue_id"
		" LEFT JOIN LATERAL (SELECT tick_id, tick_time FROM \1.tick"
		" WHERE tick_queue = q.queue_id ORDER BY tick_id DESC LIMIT 1) t ON true");
}

int queue_state(struct pq *src, const char *queue, const char *consumer,
	struct queue_state *state, struct err *e)
{
	struct buf sql = { 0 };

	*state = (struct queue_state){ .pgque = strcmp(queue_schema(src), "pgque") == 0 };
	buf_str(&sql, "SELECT to_regprocedure('\1.next_batch_info(text, text)') IS NOT NULL");
	if (queue_run(src, &sql, e) < 0)
		return e->code;
	state->pgq = is_true(src, 0);
	if (!state->pgq)
		return 0;
	add_state(&sql, queue, consumer);
	if (queue_run(src, &sql, e) < 0)
		return e->code;
	state->queue = is_true(src, 0);
	state->consumer = is_true(src, 1);
	state->last_tick = pq_int(src, 0, 2, 0);
	state->last_tick_age_ms = pq_int(src, 0, 3, 0);
	state->consumer_tick = pq_int(src, 0, 4, 0);
	return 0;
}

/* The ticker has stopped if the newest tick is older than a minute and than three of its pauses:
 * ticker_max_lag while events wait for a tick, else ticker_idle_period. */
#define OVERDUE_MS "(extract(epoch FROM greatest(interval '1 minute', 3 * CASE WHEN unticked > 0" \
	" THEN queue_ticker_max_lag ELSE queue_ticker_idle_period END)) * 1000)::bigint"

/* Selects the members of struct queue_backlog, in their order. */
static const char backlog_sql[] =
	"SELECT sub_last_tick, " AGE_MS("done.tick_time") ","
	" last.tick_event_seq - done.tick_event_seq, coalesce(" AGE_MS("next.tick_time") ", 0),"
	" last.tick_id, " AGE_MS("last.tick_time") ", " OVERDUE_MS ", unticked, queue_ticker_paused"
	" FROM (SELECT *, coalesce(tick, sub_last_tick) AS from_tick FROM asked"
	" JOIN \1.queue q ON queue_name = queue LEFT JOIN (SELECT sub_last_tick, sub_queue"
	" FROM \1.subscription, \1.consumer, asked"
	" WHERE sub_consumer = co_id AND co_name = consumer) s ON sub_queue = queue_id) q"
	" LEFT JOIN \1.tick done ON done.tick_queue = queue_id AND done.tick_id = from_tick"
	" LEFT JOIN LATERAL (SELECT tick_time FROM \1.tick WHERE tick_queue = queue_id"
	" AND tick_id > from_tick ORDER BY tick_id LIMIT 1) next ON true"
	" LEFT JOIN LATERAL (SELECT tick_id, tick_time, tick_event_seq FROM \1.tick"
	" WHERE tick_queue = queue_id ORDER BY tick_id DESC LIMIT 1) last ON true,"
	" LATERAL (SELECT CASE WHEN has_sequence_privilege(queue_event_seq, 'SELECT')"
	" THEN coalesce(pg_sequence_last_value(queue_event_seq::regclass), 1) - last.tick_event_seq"
	" END AS unticked) u";

/* -1: NULL. Less than 0 is 0: the source's clock was set back. */
static int64_t known(struct pq *src, int col)
{
	int64_t n = pq_int(src, 0, col, -1);

	return n < 0 && pq_value(src, 0, col) ? 0 : n;
}

int queue_backlog(struct pq *src, const char *queue, const char *consumer, int64_t tick,
	struct queue_backlog *b, struct err *e)
{
	struct buf sql = { 0 };

	*b = (struct queue_backlog)QUEUE_UNKNOWN;
	buf_fmt(&sql, "WITH asked (tick, queue, consumer) AS (SELECT nullif(%" PRId64
		", -1)::bigint, ", tick);
	buf_literal(&sql, span_of(queue));
	buf_str(&sql, "::text, ");
	buf_literal(&sql, span_of(consumer));
	buf_fmt(&sql, "::text) %s", backlog_sql);
	if (queue_run(src, &sql, e) < 0 || !pq_rows(src))
		return e->code;
	*b = (struct queue_backlog){
		known(src, 0), known(src, 1), known(src, 2), known(src, 3), known(src, 4),
		known(src, 5), known(src, 6), known(src, 7), is_true(src, 8),
	};
	return 0;
}

int queue_require(const struct queue_state *state, const char *queue, struct err *e)
{
	if (!state->pgq)
		return err_set(e, ERR_SHAPE, state->pgque ? "src_db has no PgQue: install it"
			" there, or leave queue_schema out" : "src_db has no PgQ: install it there"
			" (create extension pgq), or PgQue");
	if (queue && !state->queue)
		return err_set(e, ERR_SHAPE, "src_db has no queue %s: check queue_name, or create"
			" it with --install", queue);
	return 0;
}

int queue_create(struct pq *src, const char *queue, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT \1.create_queue(");
	buf_literal(&sql, span_of(queue));
	buf_str(&sql, ")");
	return queue_run(src, &sql, e);
}

/* ---- PgQ's numbers for our queue and consumer: to ask by name costs as much as a look */

#define NUMBERED_MS 1000                /* somebody may have made the queue anew */

static bool is_numbered(struct pq *src)
{
	if (clock_ms() - src->numbered_ms >= NUMBERED_MS)
		src->queue_id = src->tick_sequence = 0;
	return src->queue_id;
}

/* Both are used in one statement: the numbers, or how to find them. */
struct numbers {
	struct buf queue, consumer;
};

static struct numbers numbers_known(const struct pq *src)
{
	struct numbers n = { 0 };

	buf_fmt(&n.queue, "%" PRId64, src->queue_id);
	buf_fmt(&n.consumer, "%" PRId64, src->consumer_id);
	return n;
}

static struct numbers numbers_of(struct pq *src, const char *queue, const char *consumer)
{
	struct numbers n = { 0 };

	if (is_numbered(src)) {
		n = numbers_known(src);
	} else {
		buf_str(&n.queue, "(SELECT queue_id FROM \1.queue WHERE queue_name = ");
		buf_literal(&n.queue, span_of(queue));
		buf_str(&n.queue, ")");
		buf_str(&n.consumer, "(SELECT co_id FROM \1.consumer WHERE co_name = ");
		buf_literal(&n.consumer, span_of(consumer));
		buf_str(&n.consumer, ")");
	}
	buf_cstr(&n.queue);
	buf_cstr(&n.consumer);
	return n;
}

static void numbers_free(struct numbers *n)
{
	buf_free(&n->queue);
	buf_free(&n->consumer);
}

static void keep_numbers(struct pq *src, int64_t queue, int64_t consumer)
{
	if (!src->queue_id)
		src->numbered_ms = clock_ms();
	src->queue_id = queue;
	src->consumer_id = consumer;
}

static int has_tick(struct pq *src, int64_t tick, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT 1 FROM " PGQ ".tick WHERE tick_queue" PQ_OWN("=") "%" PRId64
		" AND tick_id" PQ_OWN(">") "%" PRId64 " LIMIT 2", src->queue_id, tick);
	queue_expand(&sql, src);
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc < 0 ? rc : pq_rows(src);
}

#define NO_SEQUENCE (-1)

/* Sets the sequence that numbers the queue's ticks, if we may read it. */
static int find_sequence(struct pq *src, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT queue_tick_seq::regclass::oid FROM \1.queue"
		" WHERE queue_id = %" PRId64
		" AND has_sequence_privilege(queue_tick_seq, 'SELECT')", src->queue_id);
	if (queue_run(src, &sql, e) == 0)
		src->tick_sequence = pq_rows(src) ? pq_int(src, 0, 0, NO_SEQUENCE) : NO_SEQUENCE;
	return e->code;
}

/* May there be a tick after that one? The sequence says so without a plan, before the tick is
 * committed. One that was set back hides a tick until the numbers are asked for anew. */
static int may_have_tick(struct pq *src, int64_t tick, struct err *e)
{
	struct buf sql = { 0 };

	if (!src->tick_sequence && find_sequence(src, e) < 0)
		return e->code;
	if (src->tick_sequence == NO_SEQUENCE)
		return 1;
	buf_fmt(&sql, "SELECT pg_catalog.pg_sequence_last_value(%" PRId64 ")", src->tick_sequence);
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc == 0)
		return pq_int(src, 0, 0, INT64_MAX) > tick;
	if (sqlstate_is_lost(e))
		return rc;
	*e = (struct err){ 0 };         /* it is gone with its queue */
	src->tick_sequence = NO_SEQUENCE;
	return 1;
}

int queue_ticked(struct pq *src, int64_t tick, struct err *e)
{
	if (!is_numbered(src))
		return QUEUE_TICKS_UNKNOWN;
	int rc = may_have_tick(src, tick, e);
	return rc > 0 ? has_tick(src, tick, e) : rc;
}

/* ---- batches */

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

#define FORM_MS 60000                   /* a form is as old at most */

/* Appends the snapshot of the batch's last tick, or NULL if it cannot be seen that the form is as
 * PgQ would write it. Tick and queue are seen by one snapshot, that of the statement. A rotation
 * that it does not see was not committed when that was taken, so what has written to a newer table
 * was not either, and a tick that it sees does not see that: the tick's events are in the tables
 * that the queue's row tells of. A row that was updated has another xmin or ctid. */
static void add_after(struct buf *sql, const struct queue_form *f, const struct numbers *n)
{
	buf_fmt(sql, "(SELECT t.tick_snapshot FROM \1.queue q, \1.subscription s, \1.tick t"
		" WHERE q.queue_id = %s AND s.sub_queue = %s AND s.sub_consumer = %s"
		" AND t.tick_queue = %s AND t.tick_id = cur_tick_id AND %s)",
		n->queue.p, n->queue.p, n->consumer.p, n->queue.p, f->same);
}

/* Appends PgQ's query for the batch, the snapshots of its ticks, and what a form is made with: the
 * queue's current table, and the condition that its row and the subscription are the same. */
static void add_query(struct buf *sql, const struct pq *src, const struct numbers *n)
{
	buf_fmt(sql, "(SELECT tick_snapshot FROM \1.tick WHERE tick_queue = %s"
		" AND tick_id = cur_tick_id), (SELECT tick_snapshot FROM \1.tick"
		" WHERE tick_queue = %s AND tick_id = prev_tick_id),"
		" CASE WHEN batch_id IS NOT NULL THEN \1.batch_event_sql(batch_id) END",
		n->queue.p, n->queue.p);
	if (strcmp(queue_schema(src), "pgq") == 0)      /* PgQue's query is another */
		buf_fmt(sql, ", (SELECT format('%%s_%%s q.xmin = ''%%s'' AND q.ctid = ''%%s''"
			" AND s.sub_id = %%s', queue_data_pfx, queue_cur_table, q.xmin, q.ctid,"
			" s.sub_id) FROM \1.queue q, \1.subscription s WHERE q.queue_id = %s"
			" AND s.sub_queue = %s AND s.sub_consumer = %s)",
			n->queue.p, n->queue.p, n->consumer.p);
	else
		buf_str(sql, ", NULL");
}

/* PgQ's min_count is min_events or, where fewer are pending, their number: it returns nothing while
 * fewer than min_count events are pending. */
static void add_next(struct buf *sql, struct pq *src, const char *queue, const char *consumer,
	int64_t min_events, const struct queue_form *f)
{
	struct numbers n = numbers_of(src, queue, consumer);

	buf_fmt(sql, "SELECT batch_id, cur_tick_id, prev_tick_id, " AGE_MS("cur_tick_time") ", "
		TIME_US("cur_tick_time") ", " TIME_US("prev_tick_time") ", %s, %s, ",
		n.queue.p, n.consumer.p);
	if (f)
		add_after(sql, f, &n);
	else
		add_query(sql, src, &n);
	buf_fmt(sql, " FROM \1.next_batch_%s(", min_events ? "custom" : "info");
	queue_add_names(sql, queue, consumer);
	if (min_events) {
		buf_fmt(sql, ", NULL, least(%" PRId64 ", ", min_events);
		add_pending(sql, &n);
		buf_str(sql, ")::int4, NULL");
	}
	buf_str(sql, ")");
	numbers_free(&n);
}

static int take_batch(struct pq *src, struct queue_batch *batch)
{
	if (pq_rows(src))
		keep_numbers(src, pq_int(src, 0, 6, 0), pq_int(src, 0, 7, 0));
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

/* The batch's last tick is the next one's first. */
static void keep_snapshot(struct queue_form *f, int64_t tick, const char *snapshot)
{
	char *kept = mem_text(snapshot);

	free(f->snapshot);
	f->snapshot = kept;
	f->tick = tick;
}

static void learn(struct pq *src, const struct queue_batch *batch, const char *events,
	const struct snapshot_ticks *t, const char *same)
{
	struct queue_form *f = &src->form;
	const char *space = same ? strchr(same, ' ') : NULL;

	free(f->same);
	f->same = NULL;
	if (!space || !snapshot_learn(&f->query, events, t,
	    (struct span){ same, (size_t)(space - same) }))
		return;
	f->same = mem_text(space + 1);
	f->queue = src->queue_id;
	f->consumer = src->consumer_id;
	f->learned_ms = clock_ms();
	keep_snapshot(f, batch->tick, t->after);
}

/* Takes what add_query asks for, from that column on. */
static void take_query(struct pq *src, struct queue_batch *batch, int col)
{
	const struct snapshot_ticks ticks = {
		src->queue_id, batch->prev_tick, batch->tick,
		pq_value(src, 0, col + 1), pq_value(src, 0, col),
	};
	const char *events = pq_value(src, 0, col + 2);
	char *ours = snapshot_query(events, &ticks);

	batch->event_sql = ours ? ours : mem_text(events);
	learn(src, batch, events, &ticks, pq_value(src, 0, col + 3));
}

static bool has_form(const struct pq *src)
{
	return src->form.same && clock_ms() - src->form.learned_ms < FORM_MS;
}

/* Takes what add_after asks for. false: PgQ must be asked. */
static bool fill_form(struct pq *src, struct queue_batch *batch)
{
	struct queue_form *f = &src->form;
	const char *after = pq_value(src, 0, 8);

	if (!after || batch->prev_tick != f->tick || src->queue_id != f->queue ||
	    src->consumer_id != f->consumer)
		return false;
	batch->event_sql = snapshot_fill(&f->query, f->snapshot, after);
	if (batch->event_sql)
		keep_snapshot(f, batch->tick, after);
	return batch->event_sql;
}

static int ask_query(struct pq *src, struct queue_batch *batch, struct err *e)
{
	struct numbers n = numbers_known(src);
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT ");
	add_query(&sql, src, &n);
	buf_fmt(&sql, " FROM (SELECT %" PRId64 "::int8, %" PRId64 "::int8, %" PRId64 "::int8)"
		" b (batch_id, cur_tick_id, prev_tick_id)", batch->id, batch->tick,
		batch->prev_tick);
	numbers_free(&n);
	if (queue_run(src, &sql, e) == 0)
		take_query(src, batch, 0);
	return e->code;
}

int queue_next(struct pq *src, const char *queue, const char *consumer, int64_t min_events,
	int64_t finish, struct queue_batch *batch, struct err *e)
{
	bool form = has_form(src);
	struct buf sql = { 0 };

	if (finish)
		buf_fmt(&sql, "SELECT \1.finish_batch(%" PRId64 ");", finish);
	add_next(&sql, src, queue, consumer, min_events, form ? &src->form : NULL);
	if (queue_run(src, &sql, e) < 0)
		return no_batch(src, queue, consumer, e);
	if (!take_batch(src, batch))
		return 0;
	if (!form)
		take_query(src, batch, 8);
	else if (!fill_form(src, batch) && ask_query(src, batch, e) < 0)
		return no_batch(src, queue, consumer, e);
	return 1;
}

int queue_peek(struct pq *src, const char *queue, const char *consumer, int64_t min_events,
	struct queue_batch *batch, struct err *e)
{
	struct buf sql = { 0 };

	add_next(&sql, src, queue, consumer, min_events, NULL);
	if (run_to("ROLLBACK", src, &sql, e) == 0) {
		if (!take_batch(src, batch))
			return 0;
		take_query(src, batch, 8);
		return 1;
	}
	if (sqlstate_is(e->sqlstate, SQLSTATE_RAISED))
		lacks_tick(src, queue, consumer, e);
	return e->code;
}

void queue_batch_free(struct queue_batch *batch)
{
	free(batch->event_sql);
	batch->event_sql = NULL;
}

int queue_finish(struct pq *src, int64_t batch, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT \1.finish_batch(%" PRId64 ")", batch);
	return queue_run(src, &sql, e);
}

int queue_batch_active(struct pq *src, int64_t batch, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT tick_id IS NOT NULL FROM \1.get_batch_info(%" PRId64 ")", batch);
	if (queue_run(src, &sql, e) == 0)
		*yes = is_true(src, 0);
	return e->code;
}

int queue_times(struct pq *src, const char *queue, struct position *pos, size_t n,
	int64_t *newest, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT coalesce((SELECT " TIME_US("tick_time") " FROM \1.tick"
		" WHERE tick_queue = q.queue_id AND tick_id = k),"
		" CASE WHEN k < (SELECT min(tick_id) FROM \1.tick"
		" WHERE tick_queue = q.queue_id) THEN 0 ELSE %d END),"
		" (SELECT max(tick_id) FROM \1.tick WHERE tick_queue = q.queue_id)"
		" FROM \1.queue q, unnest('{0", QUEUE_NO_TICK);
	for (size_t i = 0; i < n; i++)
		buf_fmt(&sql, ",%" PRId64, pos[i].tick);
	buf_str(&sql, "}'::bigint[]) WITH ORDINALITY t (k, i) WHERE queue_name = ");
	buf_literal(&sql, span_of(queue));
	buf_str(&sql, " ORDER BY i");
	if (queue_run(src, &sql, e) < 0)
		return e->code;
	*newest = pq_int(src, 0, 1, 0);
	for (size_t i = 0; i < n; i++)
		pos[i].source_us = pq_rows(src) ? pq_int(src, (int)i + 1, 0, 0) : QUEUE_NO_TICK;
	return 0;
}
