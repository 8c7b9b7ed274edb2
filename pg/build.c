/*
 * Building partitions in the transaction that loads them: the table first, its indexes and its
 * place among the children of dest_table after its rows. Until it inherits from dest_table it may
 * inherit from a model, a table like that.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pq.h"

/* ---- before the rows */

uint64_t build_model(const struct part_new *list)
{
	return word_hash(list->name, strlen(list->name)) | 1;
}

static void add_model(struct buf *sql, const struct dest *d, uint64_t model)
{
	char name[40];

	snprintf(name, sizeof name, "tdispatch_model_%016" PRIx64, model);
	buf_qualified(sql, d->schema, span_of(name));
}

/* What children take from their parent is in the model, and nothing else. */
static void add_create_model(struct buf *sql, const struct dest *d, uint64_t model)
{
	buf_str(sql, "CREATE TABLE ");
	add_model(sql, d, model);
	buf_str(sql, " (LIKE ");
	buf_qualified(sql, d->schema, d->table);
	buf_str(sql, " INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY EXCLUDING STATISTICS"
		" EXCLUDING COMMENTS);");
}

/* Appends what runs before its rows. */
static void add_head(struct buf *sql, const struct dest *d, const struct part_new *part)
{
	size_t like = part->indexes ? part->split.like : 0;
	size_t n = part->first ? part->first : strlen(part->sql), from = like;

	if (like)
		buf_fmt(sql, "%.*s EXCLUDING INDEXES ", (int)like, part->sql);
	if (part->model) {
		buf_add(sql, part->sql, part->split.parent);
		add_model(sql, d, part->model);
		from = part->split.parent_end;
	}
	buf_fmt(sql, "%.*s\n;", (int)(n - from), part->sql + from);
}

/* Sends it, and begins to send it away. */
static int post(struct pq *lane, struct buf *sql, struct err *e)
{
	int rc = pq_send(lane, buf_cstr(sql), e);

	buf_free(sql);
	return rc < 0 || pq_flush(lane, e) < 0 ? e->code : 0;
}

int build_look(struct pq *lane, const struct dest *d, const struct part_new *list, size_t n,
	struct err *e)
{
	struct buf sql = { 0 };

	/* in a message of its own: the server scans all of one before it runs any of it */
	buf_str(&sql, "SET LOCAL standard_conforming_strings = on;");
	part_add_look(&sql, d, list, n);
	return post(lane, &sql, e);
}

int build_looked(struct pq *lane, const struct dest *d, struct part_new *list, size_t n,
	struct err *e)
{
	size_t at;

	part_take(lane, list, n);
	return part_refuse(lane, d, list, n, &at, e);
}

int build_begin(struct pq *lane, const struct dest *d, struct part_new *list, size_t n,
	uint64_t new_model, int lock_timeout_ms, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SET LOCAL lock_timeout = %d;", lock_timeout_ms);
	if (new_model)
		add_create_model(&sql, d, new_model);
	for (size_t i = 0; i < n; i++)
		add_head(&sql, d, &list[i]);
	buf_fmt(&sql, "SET LOCAL lock_timeout = %d;", DATA_LOCK_TIMEOUT_MS);
	part_add_look(&sql, d, list, n);
	return post(lane, &sql, e);
}

int build_made(const struct pq *lane, struct part_new *list, size_t n, struct err *e)
{
	part_take(lane, list, n);
	for (size_t i = 0; i < n; i++)
		list[i].made = true;
	return part_check_made(list, n, e);
}

/* After what was sent: PQ_WAIT; PQ_END when all is done; or an error. */
static int step(struct pq *lane, enum sqlstate_answers to, struct err *e)
{
	int rc = PQ_READY;

	while (rc == PQ_READY)
		rc = pq_step(lane, e);
	if (rc < 0)
		pq_judge(lane, to, e);
	return rc < 0 ? e->code : rc;
}

int build_step(struct pq *lane, struct err *e)
{
	return step(lane, SQLSTATE_CREATE, e);
}

/* ---- after them */

void build_add_indexes(struct buf *sql, const struct part_new *part)
{
	const struct attach_split *split = &part->split;

	if (part->first && part->indexes)
		indexes_add(sql, part->indexes, part->name);
	if (part->first && part->first < split->attach)
		buf_fmt(sql, "%.*s\n;", (int)(split->attach - part->first),
			part->sql + part->first);
}

/* A column that has no parent left, if only for a moment, would be the table's own and stay when
 * dest_table's is dropped. */
static void add_inherit(struct buf *sql, const struct dest *d, const struct part_new *part)
{
	const struct attach_split *split = &part->split;

	buf_str(sql, "ALTER TABLE ONLY ");
	buf_qualified(sql, d->schema, span_of(part->name));
	buf_fmt(sql, " INHERIT %.*s, NO INHERIT ", (int)(split->parent_end - split->parent),
		part->sql + split->parent);
	add_model(sql, d, part->model);
	buf_str(sql, ";");
}

void build_add_attach(struct buf *sql, const struct dest *d, const struct part_new *part)
{
	if (part->model)
		add_inherit(sql, d, part);
	else if (part->first && part->sql[part->split.attach])
		buf_fmt(sql, "%s\n;", part->sql + part->split.attach);
}

void build_add_drop(struct buf *sql, const struct dest *d, uint64_t model)
{
	buf_str(sql, "DROP TABLE ");
	add_model(sql, d, model);
	buf_str(sql, ";");
}

/* To start a parallel worker takes longer than to read a smaller table. */
#define FEW_WORKERS "SET LOCAL min_parallel_table_scan_size = '64MB';"

int build_finish(struct pq *lane, const char *sql, int lock_timeout_ms, struct err *e)
{
	struct buf all = { 0 };

	buf_fmt(&all, "%sSET LOCAL lock_timeout = %d; %s SET LOCAL lock_timeout = %d",
		pq_server(lane)->version >= 110000 ? FEW_WORKERS : "", lock_timeout_ms, sql,
		DATA_LOCK_TIMEOUT_MS);
	return post(lane, &all, e);
}

int build_step_last(struct pq *lane, struct err *e)
{
	return step(lane, SQLSTATE_ROWS, e);
}
