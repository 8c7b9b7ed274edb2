/*
 * How far a table has been copied, where one is the source: a row of tdispatch.slice for each of
 * its tables and lanes, written in the transaction of the lane's rows. It tells the table by oid
 * and by the number of its file, which a rewrite changes. What marks mean: resume.c.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

int mark_require(struct pq *dst, struct err *e)
{
	if (trust_require(dst, "tdispatch", e) < 0 ||
	    pq_query(dst, PQ_OWN_PATH "SELECT (to_regclass('tdispatch.slice') IS NULL)::int4",
	    e) < 0)
		return e->code;
	if (pq_int(dst, 0, 0, 0))
		return err_set(e, ERR_SHAPE, "dst_db has no table tdispatch.slice: create it with"
			" --install, and with --from beside it unless the config has from_table");
	return 0;
}

/* ---- reading and writing */

static void add_whose(struct buf *sql, const char *consumer)
{
	buf_str(sql, " FROM tdispatch.slice WHERE consumer" PQ_OWN("="));
	buf_literal(sql, span_of(consumer));
}

static int64_t number_after(const char *text, const char *word)
{
	const char *at = strstr(text, word);

	return at ? strtoll(at + strlen(word), NULL, 10) : 0;
}

/* identity: "16423/16425 lanes=2 rule=7 where=9 columns=5" */
static struct mark take(const struct pq *dst, int row)
{
	const char *identity = pq_value(dst, row, 1), *upto = pq_value(dst, row, 3);

	return (struct mark){
		.source = mem_text(pq_value(dst, row, 0)),
		.oid = strtoll(identity, NULL, 10), .filenode = number_after(identity, "/"),
		.lanes = number_after(identity, " lanes="),
		.rule = number_after(identity, " rule="),
		.where = number_after(identity, " where="),
		.columns = number_after(identity, " columns="),
		.lane = pq_int(dst, row, 2, 0), .upto = mem_text(upto ? upto : ""),
	};
}

int mark_look(struct pq *dst, const char *consumer, const struct origin_table *t, struct marks *m,
	struct err *e)
{
	struct buf sql = { 0 };

	mark_clear(m);
	buf_str(&sql, "SELECT source, identity, lane, upto");
	add_whose(&sql, consumer);
	if (t) {
		buf_str(&sql, " AND (source" PQ_OWN("="));
		buf_literal(&sql, span_of(t->name));
		buf_fmt(&sql, " OR identity" PQ_OWN("~~") "'%" PRId64 "/%%')", t->oid);
	}
	buf_str(&sql, " ORDER BY source, lane");
	int rc = pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	for (int row = 0; rc == 0 && row < pq_rows(dst); row++) {
		m->at = mem_grow(m->at, m->n, &m->cap, sizeof *m->at);
		m->at[m->n++] = take(dst, row);
	}
	return rc;
}

void mark_clear(struct marks *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->at[i].source);
		free(m->at[i].upto);
	}
	free(m->at);
	*m = (struct marks){ 0 };
}

/* Rows of its tables, in one lane. */
static void add_values(struct buf *sql, const struct mark_whose *w, size_t lane, const char *upto)
{
	for (size_t i = 0; i <= w->more; i++) {
		const struct origin_table *t = &w->table[i];
		buf_str(sql, i ? ", (" : "(");
		buf_literal(sql, span_of(w->conf->consumer_name));
		buf_str(sql, ", ");
		buf_literal(sql, span_of(i ? t->name : w->source));
		buf_fmt(sql, ", '%" PRId64 "/%" PRId64 " lanes=%zu rule=%" PRId64 " where=%" PRId64
			" columns=%" PRId64 "', %zu, ", t->oid, t->filenode, w->lanes,
			judge_rule(w->conf, w->lanes), resume_where(w->conf), t->columns, lane);
		buf_literal(sql, span_of(upto));
		buf_str(sql, ")");
	}
}

#define INSERT "INSERT INTO tdispatch.slice (consumer, source, identity, lane, upto) VALUES "

int mark_store(struct pq *dst, const struct mark_whose *w, size_t lane, const char *upto,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, INSERT);
	add_values(&sql, w, lane, upto);
	buf_str(&sql, " ON CONFLICT (consumer, source, lane) DO UPDATE"
		" SET identity = EXCLUDED.identity, upto = EXCLUDED.upto");
	int rc = pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc;
}

int mark_set_lanes(struct pq *dst, const struct mark_whose *w, const char *upto, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "DELETE");
	add_whose(&sql, w->conf->consumer_name);
	buf_str(&sql, " AND source" PQ_OWN("=") "ANY (ARRAY[");
	for (size_t i = 0; i <= w->more; i++) {
		buf_str(&sql, i ? ", " : "");
		buf_literal(&sql, span_of(i ? w->table[i].name : w->source));
	}
	buf_str(&sql, "]::pg_catalog.text[]); " INSERT);
	for (size_t lane = 0; lane < w->lanes; lane++) {
		buf_str(&sql, lane ? ", " : "");
		add_values(&sql, w, lane, upto);
	}
	buf_str(&sql, "; COMMIT");
	int rc = pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc;
}

/* May the role do that with the table? If not, or if it is a table of somebody else's, no copy of
 * ours is told there. */
static int may(struct pq *dst, const char *privilege, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	*yes = false;
	buf_fmt(&sql, "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
		" ON n.oid" PQ_OWN("=") "c.relnamespace WHERE n.nspname" PQ_OWN("=") "'tdispatch'"
		" AND c.relname" PQ_OWN("=") "'slice'"
		" AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
		" AND pg_catalog.has_table_privilege(c.oid, '%s')", privilege);
	int rc = pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc < 0 || !pq_rows(dst))
		return rc;
	*yes = trust_require(dst, "tdispatch", e) == 0;
	if (e->code == ERR_RIGHTS)
		*e = (struct err){ 0 };
	return e->code;
}

int mark_forget(struct pq *dst, const char *consumer, int64_t *n, struct err *e)
{
	struct buf sql = { 0 };
	bool yes;

	*n = 0;
	if (may(dst, "DELETE", &yes, e) < 0 || !yes)
		return e->code;
	buf_str(&sql, "WITH gone AS (DELETE");
	add_whose(&sql, consumer);
	buf_str(&sql, " RETURNING source) SELECT pg_catalog.count(DISTINCT source)"
		" FILTER (WHERE source" PQ_OWN("!~~") "'queue %') FROM gone");
	if (pq_query(dst, buf_cstr(&sql), e) == 0)
		*n = pq_int(dst, 0, 0, 0);
	buf_free(&sql);
	return e->code;
}

/* ---- of a copy that goes on with a queue: one more row */

/* Its source is no table's name: that has a dot, and this a blank before it. */
static void add_queue(struct buf *sql, const struct conf *c)
{
	struct buf name = { 0 };

	buf_fmt(&name, "queue %s", c->queue_name);
	buf_literal(sql, (struct span){ name.p, name.len });
	buf_free(&name);
}

static const char *const states[] = {
	[MARK_COPYING] = "copying", [MARK_COPIED] = "copied", [MARK_BEHIND] = "behind",
};

static enum mark_state state_of(const char *word)
{
	enum mark_state s = MARK_BEHIND;

	while (s > MARK_COPYING && strcmp(states[s], word) != 0)
		s--;
	return s;
}

int mark_see(struct pq *dst, const struct conf *c, struct mark_seen *seen, struct err *e)
{
	struct buf sql = { 0 };
	bool yes;

	mark_seen_clear(seen);
	if (may(dst, "SELECT", &yes, e) < 0 || !yes)
		return e->code;
	buf_str(&sql, "SELECT identity, upto");
	add_whose(&sql, c->consumer_name);
	buf_str(&sql, " AND source" PQ_OWN("="));
	add_queue(&sql, c);
	int rc = pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc < 0 || !pq_rows(dst))
		return rc;
	const char *text = pq_value(dst, 0, 1), *end = strchrnul(text, '\n');
	seen->state = state_of(pq_value(dst, 0, 0));
	seen->snapshot = mem_str(text, (size_t)(end - text));
	seen->tables = mem_text(*end ? end + 1 : end);
	return 0;
}

void mark_seen_clear(struct mark_seen *seen)
{
	free(seen->snapshot);
	free(seen->tables);
	*seen = (struct mark_seen){ 0 };
}

int mark_tell(struct pq *dst, const struct conf *c, const struct mark_seen *seen, struct err *e)
{
	struct buf sql = { 0 }, text = { 0 };

	buf_str(&sql, "DELETE");
	add_whose(&sql, c->consumer_name);
	buf_str(&sql, " AND source" PQ_OWN("="));
	add_queue(&sql, c);
	buf_str(&sql, "; " INSERT "(");
	buf_literal(&sql, span_of(c->consumer_name));
	buf_str(&sql, ", ");
	add_queue(&sql, c);
	buf_fmt(&sql, ", '%s', 0, ", states[seen->state]);
	if (seen->snapshot)
		buf_fmt(&text, "%s\n%s", seen->snapshot, seen->tables);
	buf_literal(&sql, (struct span){ text.p ? text.p : "", text.len });
	buf_str(&sql, ")");
	buf_str(&sql, "; COMMIT");
	int rc = pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	buf_free(&text);
	return rc;
}

/* Did all transactions that the snapshot did not see end before the batch's first tick? */
static int is_past(struct pq *src, const struct conf *c, const struct mark_seen *seen,
	const struct queue_batch *b, bool *past, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT (pg_catalog.txid_snapshot_xmin(t.tick_snapshot)" PQ_OWN(">=")
		"pg_catalog.txid_snapshot_xmax(");
	buf_literal(&sql, span_of(seen->snapshot));
	buf_str(&sql, "))::pg_catalog.int4 FROM " PGQ ".tick t JOIN " PGQ ".queue q ON q.queue_id"
		PQ_OWN("=") "t.tick_queue WHERE q.queue_name" PQ_OWN("="));
	buf_literal(&sql, span_of(c->queue_name));
	buf_fmt(&sql, " AND t.tick_id" PQ_OWN("=") "%" PRId64, b->prev_tick);
	queue_expand(&sql, src);
	if (pq_query(src, buf_cstr(&sql), e) == 0)
		*past = pq_rows(src) && pq_int(src, 0, 0, 0);
	buf_free(&sql);
	return e->code;
}

int mark_pass_over(struct pq *src, const struct conf *c, const struct mark_seen *seen,
	struct queue_batch *b, bool *past, struct err *e)
{
	struct buf sql = { 0 };

	if (is_past(src, c, seen, b, past, e) < 0 || *past)
		return e->code;
	buf_fmt(&sql, "SELECT * FROM (%s) tdispatch_event WHERE NOT coalesce(ev_extra1"
		PQ_OWN("=") "ANY (pg_catalog.string_to_array(", b->event_sql);
	buf_literal(&sql, span_of(seen->tables));
	buf_str(&sql, ", E'\\n')) AND pg_catalog.txid_visible_in_snapshot(ev_txid, ");
	buf_literal(&sql, span_of(seen->snapshot));
	buf_str(&sql, "), false)");
	buf_cstr(&sql);
	free(b->event_sql);
	b->event_sql = sql.p;
	return 0;
}
