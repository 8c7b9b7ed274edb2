/*
 * How far a table has been copied, where one is the source: a row of tdispatch.slice for each of
 * its tables and lanes, written in the transaction of the lane's rows. It tells the table by oid
 * and by the number of its file, which a rewrite changes.
 *
 * As with the positions of a queue, lane 0 commits last: the others are at lane 0's mark, or one
 * slice ahead, and then that slice comes again without them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

static const char remedies[] = "Nothing was written. --reset forgets how far all copies of this"
	" consumer are: then empty dest_table, and begin anew";

int mark_require(struct pq *dst, struct err *e)
{
	if (trust_require(dst, "tdispatch", e) < 0 ||
	    pq_query(dst, PQ_OWN_PATH "SELECT (to_regclass('tdispatch.slice') IS NULL)::int4",
	    e) < 0)
		return e->code;
	if (pq_int(dst, 0, 0, 0))
		return err_set(e, ERR_SHAPE, "dst_db has no table tdispatch.slice: create it with"
			" --install");
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

static char *copied(const char *text)
{
	return mem_str(text ? text : "", text ? strlen(text) : 0);
}

/* identity: "16423/16425 lanes=2 rule=7 where=9" */
static struct mark take(const struct pq *dst, int row)
{
	const char *identity = pq_value(dst, row, 1);

	return (struct mark){
		.source = copied(pq_value(dst, row, 0)),
		.oid = strtoll(identity, NULL, 10), .filenode = number_after(identity, "/"),
		.lanes = number_after(identity, " lanes="),
		.rule = number_after(identity, " rule="),
		.where = number_after(identity, " where="),
		.lane = pq_int(dst, row, 2, 0), .upto = copied(pq_value(dst, row, 3)),
	};
}

int mark_look(struct pq *dst, const char *consumer, const struct slice_table *t, struct marks *m,
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

/* A hash of the keys that choose rows. */
static int64_t where_of(const struct conf *c)
{
	struct buf text = { 0 };

	buf_fmt(&text, "%s\n%s", c->from_key ? c->from_key : "", c->from_where ? c->from_where :
		"");
	uint64_t hash = span_hash("tdispatch where", (struct span){ text.p, text.len });
	buf_free(&text);
	return (int64_t)(hash >> 8);
}

static void add_values(struct buf *sql, const struct mark_whose *w, size_t lane, const char *upto)
{
	buf_str(sql, "(");
	buf_literal(sql, span_of(w->conf->consumer_name));
	buf_str(sql, ", ");
	buf_literal(sql, span_of(w->source));
	buf_fmt(sql, ", '%" PRId64 "/%" PRId64 " lanes=%zu rule=%" PRId64 " where=%" PRId64 "',"
		" %zu, ", w->table->oid, w->table->filenode, w->lanes,
		judge_rule(w->conf, w->lanes), where_of(w->conf), lane);
	buf_literal(sql, span_of(upto));
	buf_str(sql, ")");
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
	buf_str(&sql, " AND source" PQ_OWN("="));
	buf_literal(&sql, span_of(w->source));
	buf_str(&sql, "; " INSERT);
	for (size_t lane = 0; lane < w->lanes; lane++) {
		buf_str(&sql, lane ? ", " : "");
		add_values(&sql, w, lane, upto);
	}
	buf_str(&sql, "; COMMIT");
	int rc = pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc;
}

int mark_forget(struct pq *dst, const char *consumer, int64_t *n, struct err *e)
{
	struct buf sql = { 0 };

	*n = 0;
	if (pq_query(dst, PQ_OWN_PATH "SELECT (to_regclass('tdispatch.slice') IS NULL)::int4",
	    e) < 0 || pq_int(dst, 0, 0, 0))
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

/* A role that may not read the table, or a table of somebody else's, has nothing to say. */
static int may_see(struct pq *dst, bool *yes, struct err *e)
{
	*yes = false;
	if (pq_query(dst, "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
	    " ON n.oid" PQ_OWN("=") "c.relnamespace WHERE n.nspname" PQ_OWN("=") "'tdispatch'"
	    " AND c.relname" PQ_OWN("=") "'slice'"
	    " AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
	    " AND pg_catalog.has_table_privilege(c.oid, 'SELECT')", e) < 0 || !pq_rows(dst))
		return e->code;
	*yes = trust_require(dst, "tdispatch", e) == 0;
	if (e->code == ERR_RIGHTS)
		*e = (struct err){ 0 };
	return e->code;
}

int mark_see(struct pq *dst, const struct conf *c, struct mark_seen *seen, struct err *e)
{
	struct buf sql = { 0 };
	bool may;

	mark_seen_clear(seen);
	if (may_see(dst, &may, e) < 0 || !may)
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
	seen->state = strcmp(pq_value(dst, 0, 0), "copied") == 0 ? MARK_COPIED : MARK_COPYING;
	seen->snapshot = mem_str(text, (size_t)(end - text));
	seen->tables = copied(*end ? end + 1 : end);
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
	if (seen->state != MARK_NONE) {
		buf_str(&sql, "; " INSERT "(");
		buf_literal(&sql, span_of(c->consumer_name));
		buf_str(&sql, ", ");
		add_queue(&sql, c);
		buf_fmt(&sql, ", '%s', 0, ", seen->state == MARK_COPIED ? "copied" : "copying");
		buf_fmt(&text, "%s\n%s", seen->snapshot, seen->tables);
		buf_literal(&sql, (struct span){ text.p, text.len });
		buf_str(&sql, ")");
	}
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

/* ---- what they mean */

static const struct mark *find(const struct marks *m, const struct slice_table *t, int64_t lane)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->at[i].oid == t->oid && m->at[i].lane == lane)
			return &m->at[i];
	return NULL;
}

static const struct mark *find_name(const struct marks *m, const char *name)
{
	for (size_t i = 0; i < m->n; i++)
		if (strcmp(m->at[i].source, name) == 0)
			return &m->at[i];
	return NULL;
}

static void lose(struct mark_verdict *v, const struct slice_table *t, const char *why)
{
	v->kind = MARK_LOST;
	snprintf(v->words, sizeof v->words, "lost position: %.200s %s. %s", t->name, why,
		remedies);
}

/* The lanes that have the slice which begins at lane 0's mark. */
static void find_ahead(const struct conf *c, const struct marks *m, const struct slice_table *t,
	struct mark_verdict *v)
{
	for (size_t i = 0; i < v->lanes; i++) {
		const struct mark *at = find(m, t, (int64_t)i);
		v->loads[i] = at && strcmp(at->upto, v->from) == 0;
		if (v->loads[i])
			continue;
		if (!at || (v->to && strcmp(v->to, at->upto) != 0))
			lose(v, t, "is marked in tdispatch.slice as no run of ours leaves it");
		else if (at->rule != judge_rule(c, v->lanes))
			lose(v, t, "is copied in a part of the lanes up to a slice's end, with"
				" other values of dest_table, part_field, part_method or"
				" part_timezone: put the old values back and let a run finish that"
				" slice");
		v->to = at ? at->upto : NULL;
	}
}

static void judge_known(const struct conf *c, const struct marks *m, const struct slice_table *t,
	bool by_key, struct mark_verdict *v)
{
	const struct mark *first = find(m, t, 0);
	bool key = *first->upto == '=', end = strcmp(first->upto, SLICE_END) == 0;

	v->source = first->source;
	v->from = first->upto;
	v->lanes = first->lanes > 0 && first->lanes <= LANES_MAX ? (size_t)first->lanes : 1;
	v->rewritten = first->filenode != t->filenode;
	v->kind = end ? MARK_DONE : MARK_LOAD;
	if (end)
		return;
	if (v->rewritten)
		lose(v, t, "was rewritten since a part of it was copied (VACUUM FULL, CLUSTER,"
			" TRUNCATE or ALTER TABLE): its rows are at other places");
	else if (first->where != where_of(c) || (*first->upto && key != by_key))
		lose(v, t, "was copied in a part with another from_where or from_key: put that"
			" back to go on");
	else
		find_ahead(c, m, t, v);
	if (v->kind == MARK_LOAD && !v->to && v->lanes != (size_t)c->lanes)
		v->kind = MARK_LANES;
}

struct mark_verdict mark_judge(const struct conf *c, const struct marks *m,
	const struct slice_table *t, bool by_key)
{
	struct mark_verdict v = {
		.kind = MARK_LANES, .source = t->name, .from = SLICE_START,
	};
	const struct mark *other = find_name(m, t->name);

	if (find(m, t, 0))
		judge_known(c, m, t, by_key, &v);
	else if (other)
		lose(&v, t, "is another table than the one of that name that was copied before");
	if (v.kind == MARK_LANES)
		v.lanes = (size_t)c->lanes;
	return v;
}
