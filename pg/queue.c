/*
 * The source's side: PgQ's schema, how a statement about a queue is run, and the queue's state.
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

/* Sends sql, and frees it, in a transaction that ends with end: COMMIT or ROLLBACK. */
static int send_to(const char *end, struct pq *src, struct buf *sql, struct err *e)
{
	struct buf all = { 0 };

	queue_begin(&all, src);
	buf_fmt(&all, "%s; %s", buf_cstr(sql), end);
	queue_expand(&all, src);
	if (pq_send(src, buf_cstr(&all), e) == 0)
		pq_flush(src, e);
	buf_free(&all);
	buf_free(sql);
	return e->code;
}

int queue_send(struct pq *src, struct buf *sql, struct err *e)
{
	return send_to("COMMIT", src, sql, e);
}

int queue_run(struct pq *src, struct buf *sql, struct err *e)
{
	return send_to("COMMIT", src, sql, e) < 0 ? e->code : pq_answer(src, e);
}

int queue_try(struct pq *src, struct buf *sql, struct err *e)
{
	return send_to("ROLLBACK", src, sql, e) < 0 ? e->code : pq_answer(src, e);
}

void queue_add_names(struct buf *sql, const char *queue, const char *consumer)
{
	buf_literal(sql, span_of(queue));
	buf_str(sql, ", ");
	buf_literal(sql, span_of(consumer));
}

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
	/* no longer there if the queue is being dropped */
	" LATERAL to_regclass(queue_event_seq) seq,"
	" LATERAL (SELECT CASE WHEN has_sequence_privilege(seq, 'SELECT')"
	" THEN coalesce(pg_sequence_last_value(seq), 1) - last.tick_event_seq"
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

	buf_str(&sql, INSTALL_LOCK "SELECT \1.create_queue(");
	buf_literal(&sql, span_of(queue));
	buf_str(&sql, ")");
	return queue_run(src, &sql, e);
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
