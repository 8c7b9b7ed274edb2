/*
 * The events of a batch: the query for them, and taking their rows apart.
 *
 * They are read in binary, which spares the server escaping them and us unescaping them, and
 * unsorted: PgQ's sort would spill a large batch to disk, and inserts need no order. Where the last
 * event of a key counts, PgQ's index is read backwards, so that most of these come first.
 *
 * Few of them may be read ahead, and kept until they are asked for.
 */
#include <inttypes.h>
#include <string.h>

#include "pq.h"

/* PgQ's query without its sort. */
static struct span unsorted(const struct queue_batch *batch)
{
	static const char order[] = " order by 1";
	size_t n = strlen(batch->event_sql), tail = strlen(order);

	if (n > tail && strcmp(batch->event_sql + n - tail, order) == 0)
		n -= tail;
	return (struct span){ batch->event_sql, n };
}

static void add_events(struct buf *sql, const struct queue_batch *batch)
{
	buf_add(sql, unsorted(batch).p, unsorted(batch).n);
}

/* The same with its tables' queries the other way around, each with the last transactions first:
 * their index gives them so. */
static void add_newest_first(struct buf *sql, const struct queue_batch *batch)
{
	static const char both[] = " union all ";
	const struct span all = unsorted(batch);
	size_t end = all.n, at = all.n;

	if (all.n == strlen(batch->event_sql)) {        /* it ends in another way than PgQ's */
		add_events(sql, batch);
		return;
	}
	while (at-- > 0) {
		size_t begin = at + strlen(both);
		if (at && (begin > end || memcmp(all.p + at, both, strlen(both)) != 0))
			continue;
		begin = at ? begin : 0;
		buf_fmt(sql, "%s(%.*s order by ev_txid desc)", end < all.n ? both : "",
			(int)(end - begin), all.p + begin);
		end = at;
	}
}

static void add_tick(struct buf *sql, const struct queue_batch *batch)
{
	if (batch->tick)
		buf_fmt(sql, ", %" PRId64 "::int8", batch->tick);
	else
		buf_str(sql, ", tick_id");
}

static void add_batch_time(struct buf *sql, const struct queue_batch *batch, const char *type)
{
	if (batch->tick)
		buf_fmt(sql, ", (timestamptz 'epoch' + %" PRId64 " * interval '1 microsecond')::%s",
			batch->tick_us, type);
	else
		buf_fmt(sql, ", tick_time::%s", type);
}

/* Appends the parts' columns, in the order in which parse_event takes them. */
static void add_parts(struct buf *sql, const struct queue_batch *batch, unsigned parts)
{
	buf_str(sql, parts & EVENT_TABLE ? ", ev_extra1" : "");
	buf_str(sql, parts & EVENT_OLD ? ", ev_extra2" : "");
	buf_str(sql, parts & EVENT_TXID ? ", ev_txid" : "");
	buf_str(sql, parts & EVENT_TIME ? ", ev_time" : "");
	if (parts & EVENT_TICK)
		add_tick(sql, batch);
	if (parts & EVENT_BATCH_TIME)
		add_batch_time(sql, batch, "timestamptz");
	if (parts & EVENT_LOCAL_TIME)
		buf_str(sql, ", ev_time::timestamp");
	else if (parts & EVENT_LOCAL_BATCH_TIME)
		add_batch_time(sql, batch, "timestamp");
}

/* A pattern of LIKE, if there is a star; else the name, with the schema that it lacks. */
static void add_pattern(struct buf *sql, const char *column, struct span item)
{
	bool pattern = memchr(item.p, '*', item.n);
	struct buf text = { 0 };

	buf_add(&text, filter_schema(item).p, filter_schema(item).n);
	for (size_t i = 0; i < item.n; i++) {
		if (pattern && strchr("%_\\", item.p[i]))
			buf_str(&text, "\\");
		buf_add(&text, item.p[i] == '*' ? "%" : item.p + i, 1);
	}
	buf_fmt(sql, "%s %s ", column, pattern ? "LIKE" : "=");
	buf_literal(sql, (struct span){ text.p, text.len });
	buf_free(&text);
}

void events_add_tables(struct buf *sql, const char *column, const char *list)
{
	const char *before = "(";
	struct span item;

	while (filter_next(&list, &item)) {
		buf_str(sql, before);
		add_pattern(sql, column, item);
		before = " OR ";
	}
	buf_str(sql, ")");
}

/* A type may be all of ev_type, where ev_data is JSON; and one that is JSON is not looked into. */
static void add_types(struct buf *sql, const char *list)
{
	struct buf in = { 0 };
	struct span item;

	while (filter_next(&list, &item)) {
		buf_str(&in, in.len ? ", " : "");
		buf_literal(&in, item);
	}
	buf_cstr(&in);
	buf_fmt(sql, "(split_part(ev_type, ':', 1) IN (%s) OR ev_type IN (%s) OR ev_type LIKE"
		" '{%%')",
		in.p, in.p);
	buf_free(&in);
}

bool events_filters(const struct events_want *want)
{
	return want->tables || want->types;
}

static void add_filtered(struct buf *sql, const struct events_want *want)
{
	struct buf filter = { 0 };

	if (want->tables)
		events_add_tables(&filter, "ev_extra1", want->tables);
	if (want->types) {
		buf_str(&filter, want->tables ? " AND " : "");
		add_types(&filter, want->types);
	}
	buf_cstr(&filter);
	buf_fmt(sql, "CASE WHEN %s THEN coalesce(ev_type, '') END, CASE WHEN %s THEN ev_data END",
		filter.p, filter.p);
	buf_free(&filter);
}

/* ahead: more rows than can be kept are not read. For a few rows a planner prefers a scan of the
 * whole table, where it thinks that there are many more. */
static void add_statement(struct buf *sql, const struct pq *src, const struct queue_batch *batch,
	const struct events_want *want, bool ahead)
{
	queue_begin(sql, src);
	buf_str(sql, want->newest_first ? "SET LOCAL enable_sort = off;" : "");
	buf_str(sql, ahead ? "SET LOCAL enable_seqscan = off;" : "");
	buf_str(sql, "COPY (SELECT ev_id, ");
	if (events_filters(want))
		add_filtered(sql, want);
	else
		buf_str(sql, "ev_type, ev_data");
	add_parts(sql, batch, want->parts);
	buf_str(sql, ahead ? " FROM (SELECT * FROM (" : " FROM (");
	if (want->newest_first)
		add_newest_first(sql, batch);
	else
		add_events(sql, batch);
	if (ahead)
		buf_fmt(sql, ") a LIMIT %d", KEPT_ROWS_MAX);
	buf_fmt(sql, ") e%s", want->by_id ? " ORDER BY ev_id" : "");
	buf_str(sql, ") TO STDOUT (FORMAT binary); COMMIT");
}

static int ask(struct pq *src, struct buf *sql, struct err *e)
{
	if (pq_send(src, buf_cstr(sql), e) == 0)
		pq_flush(src, e);
	return e->code;
}

int events_ask(struct pq *src, const struct queue_batch *batch, const struct events_want *want,
	struct err *e)
{
	struct buf sql = { 0 };

	add_statement(&sql, src, batch, want, false);
	if (!kept_take(&src->kept, (struct span){ sql.p, sql.len }))
		ask(src, &sql, e);
	buf_free(&sql);
	return e->code;
}

int events_ask_ahead(struct pq *src, const struct queue_batch *batch,
	const struct events_want *want, struct err *e)
{
	struct buf sql = { 0 };

	add_statement(&sql, src, batch, want, false);
	kept_begin(&src->kept, (struct span){ sql.p, sql.len });
	sql.len = 0;
	add_statement(&sql, src, batch, want, true);
	ask(src, &sql, e);
	buf_free(&sql);
	return e->code;
}

int events_open(struct pq *src, struct err *e)
{
	return kept_taken(&src->kept) ? 0 : pq_copy_out_open(src, e);
}

/* Reads what was asked for to its end, and offers it to kept. */
static int read_all(struct pq *src, struct err *e)
{
	struct span row;
	int step = pq_copy_out_open(src, e);

	while (step >= 0 && step != PQ_END) {
		step = pq_copy_row(src, &row, e);
		if (step == PQ_READY)
			kept_add(&src->kept, row);
		if (step == PQ_WAIT && pq_wait(&src, 1, -1, e) < 0)
			return e->code;
	}
	return e->code;
}

int events_drop(struct pq *src, struct err *e)
{
	bool kept = kept_taken(&src->kept);

	kept_forget(&src->kept);
	return kept ? 0 : read_all(src, e);
}

bool events_are_kept(const struct pq *src)
{
	return src->kept.state == KEPT_ALL;
}

int events_keep(struct pq *src, struct err *e)
{
	if (read_all(src, e) == 0)
		return kept_end(&src->kept);
	kept_forget(&src->kept);
	return e->code;
}

int events_read_some(struct pq *src, const struct queue_batch *batch, const char *more,
	const char *ids, struct err *e)
{
	struct buf sql = { 0 };

	queue_begin(&sql, src);
	buf_fmt(&sql, "SET LOCAL DateStyle = ISO;"
		"COPY (SELECT ev_id, ev_time, ev_type, ev_data, ev_extra1%s FROM (", more);
	add_events(&sql, batch);
	buf_fmt(&sql, ") e WHERE ev_id = ANY ('{%s}')) TO STDOUT; COMMIT", ids);
	int rc = pq_copy_out(src, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc;
}

static inline uint32_t take_u32(struct span *row)
{
	const unsigned char *p = (const unsigned char *)row->p;

	row->p += 4;
	row->n -= 4;
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* One binary COPY field: a length, -1 for NULL, and its bytes. */
static inline bool take_field(struct span *row, struct span *field)
{
	if (row->n < 4)
		return false;
	uint32_t n = take_u32(row);
	*field = (struct span){ n == UINT32_MAX ? NULL : row->p, n == UINT32_MAX ? 0 : n };
	if (field->n > row->n)
		return false;
	row->p += field->n;
	row->n -= field->n;
	return true;
}

static inline bool take_int64(struct span *row, int64_t *value)
{
	struct span field;

	if (!take_field(row, &field) || field.n != 8)
		return false;
	uint64_t high = take_u32(&field);
	*value = (int64_t)(high << 32 | take_u32(&field));
	return true;
}

/* Takes the part if it is among those asked for. */
static inline bool take_part(struct span *row, unsigned parts, unsigned part, struct event *event,
	int64_t *value)
{
	if (!(parts & part))
		return true;
	if (row->n >= 4 && memcmp(row->p, "\377\377\377\377", 4) == 0) {
		event->lacks |= part;
		take_u32(row);
		return true;
	}
	return take_int64(row, value);
}

/* All but the table. */
static bool parse_parts(struct span *row, unsigned parts, struct event *event)
{
	const unsigned local = EVENT_LOCAL_TIME | EVENT_LOCAL_BATCH_TIME;

	return (!(parts & EVENT_OLD) || take_field(row, &event->old)) &&
		take_part(row, parts, EVENT_TXID, event, &event->txid) &&
		take_part(row, parts, EVENT_TIME, event, &event->time) &&
		take_part(row, parts, EVENT_TICK, event, &event->tick) &&
		take_part(row, parts, EVENT_BATCH_TIME, event, &event->batch_time) &&
		take_part(row, parts, local, event, &event->local_time);
}

static bool parse_event(struct span *row, unsigned parts, struct event *event)
{
	if (row->n < 2)
		return false;
	row->p += 2;                    /* the number of columns, which our query decides */
	row->n -= 2;
	event->lacks = 0;
	return take_int64(row, &event->id) &&
		take_field(row, &event->type) && take_field(row, &event->data) &&
		(!(parts & EVENT_TABLE) || take_field(row, &event->table)) &&
		(!(parts & ~EVENT_TABLE) || parse_parts(row, parts, event)) && row->n == 0;
}

static int next(struct pq *src, struct span *row, struct err *e)
{
	if (!kept_taken(&src->kept))
		return pq_copy_row(src, row, e);
	return kept_next(&src->kept, row) ? PQ_READY : PQ_END;
}

int events_next(struct pq *src, unsigned parts, struct event *event, struct err *e)
{
	struct span row;
	int step = next(src, &row, e);

	if (step == PQ_READY && !parse_event(&row, parts, event))
		return err_set(e, ERR_OTHER, "src_db: a row of the batch is not as asked for");
	return step;
}

char *events_table(struct pq *src, const struct queue_batch *batch, int64_t id)
{
	struct buf sql = { 0 };
	struct err ignored = { 0 };

	buf_fmt(&sql, "SELECT ev_extra1 FROM (%s) e WHERE ev_id = %" PRId64, batch->event_sql, id);
	if (queue_run(src, &sql, &ignored) < 0 || pq_rows(src) < 1 || !pq_value(src, 0, 0))
		return NULL;
	const char *table = pq_value(src, 0, 0);
	return mem_text(table);
}
