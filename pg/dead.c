/*
 * Dead letters: events that cannot be written, in table tdispatch.dead_letter on the target. They
 * are stored in the transactions of the good rows.
 *
 * A table that an earlier version made has fewer columns, until --install adds them: whoever writes
 * or reads letters asks which there are, and does without the others.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pq.h"

#define INSTALL_LOCK_TIMEOUT_MS 60000   /* for the columns that are added to a table in use */

/* Appends the events' ids from one on, separated by commas. */
static void add_ids(struct buf *ids, const struct letters *list, size_t from)
{
	for (size_t i = from; i < list->n; i++)
		buf_fmt(ids, "%s%" PRId64, i > from ? "," : "", list->at[i].event);
}

/* ---- columns */

/* What an earlier version's table lacks: the batch's tick's time, the rest of PgQ's event, and what
 * the target refused of it. */
static const struct column { const char *name, *type; } later[] = {
	{ "tick_time", "timestamptz" }, { "ev_txid", "bigint" }, { "ev_retry", "integer" },
	{ "ev_extra2", "text" }, { "ev_extra3", "text" }, { "ev_extra4", "text" },
	{ "column_name", "text" }, { "value", "text" },
};

enum { LATER_TIME, LATER_EVENT, LATER_COLUMN = 6, LATER_VALUE };

#define LATER (sizeof later / sizeof *later)
#define TABLE "tdispatch.dead_letter"

/* Leaves the search_path as it is. */
static int ask_columns(struct pq *dst, unsigned *lacks, struct err *e)
{
	*lacks = 0;
	if (pq_query(dst, "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid" PQ_OWN("=")
	    "pg_catalog.to_regclass('" TABLE "') AND attnum" PQ_OWN(">") "0"
	    " AND NOT attisdropped", e) < 0)
		return e->code;
	for (size_t i = 0; i < LATER; i++) {
		bool found = false;
		for (int row = 0; row < pq_rows(dst) && !found; row++)
			found = strcmp(pq_value(dst, row, 0), later[i].name) == 0;
		*lacks |= found ? 0 : 1u << i;
	}
	return 0;
}

/* Appends ", ev_txid, ..." of an event: those of the table's later columns that are there. */
static void add_later(struct buf *sql, unsigned lacks)
{
	for (size_t i = LATER_EVENT; i < LATER_COLUMN; i++)
		if (!(lacks & 1u << i))
			buf_fmt(sql, ", %s", later[i].name);
}

/* ---- writing */

/* A field of COPY's text format, with the tab after it. */
static void add_field(struct buf *line, const char *text)
{
	for (; *text; text++)
		if (strchr("\\\n\r\t", *text))
			buf_fmt(line, "\\x%02x", *text);
		else
			buf_add(line, text, 1);
	buf_str(line, "\t");
}

struct writing {
	const struct letters *list;
	const struct wanted_letter { int64_t event; size_t i; } *wanted;        /* sorted */
	size_t n;
	struct pq *const *dst;          /* the lanes */
	bool open[LANES_MAX];           /* COPY */
	const char *copy, *batch;       /* the statement, and what each line begins with */
	unsigned lacks;                 /* columns that the table does not have */
};

static int by_event(const void *a, const void *b)
{
	const struct wanted_letter *x = a, *y = b;

	return (x->event > y->event) - (x->event < y->event);
}

static void add_texts(struct buf *line, const struct writing *w, size_t i)
{
	add_field(line, letters_text(w->list, i, LETTER_PARTITION));
	add_field(line, w->list->at[i].sqlstate);
	add_field(line, letters_text(w->list, i, LETTER_MESSAGE));
	if (!(w->lacks & 1u << LATER_COLUMN))
		add_field(line, letters_text(w->list, i, LETTER_COLUMN));
	if (!(w->lacks & 1u << LATER_VALUE))
		add_field(line, letters_text(w->list, i, LETTER_VALUE));
}

/* row: a line of events_read_some, which begins with the event's id. */
static int write_letter(struct writing *w, struct span row, struct err *e)
{
	struct wanted_letter key = { .event = strtoll(row.p, NULL, 10) };
	const struct wanted_letter *found = bsearch(&key, w->wanted, w->n, sizeof key, by_event);
	struct buf line = { 0 };

	if (!found)
		return err_set(e, ERR_OTHER, "src_db: an event that was not asked for");
	size_t lane = w->list->at[found->i].lane;
	struct pq *dst = w->dst[lane];
	if (!w->open[lane] && pq_copy_in(dst, w->copy, 1, e) < 0)
		return e->code;
	w->open[lane] = true;
	buf_str(&line, w->batch);
	add_texts(&line, w, found->i);
	if (pq_copy_await(dst, e) >= 0 && pq_copy_put(dst, line.p, line.len, e) == 0)
		pq_copy_put(dst, row.p, row.n, e);
	buf_free(&line);
	return e->code;
}

/* Writes each row of src, a line of its event; *n counts them. */
static int write_letters(struct writing *w, struct pq *src, size_t *n, struct err *e)
{
	struct span row;
	int step;

	while ((step = pq_copy_row(src, &row, e)) != PQ_END) {
		if (step < 0 || (step == PQ_WAIT && pq_wait(&src, 1, -1, e) < 0))
			return e->code;
		if (step == PQ_READY && write_letter(w, row, e) < 0)
			return e->code;
		*n += step == PQ_READY;
	}
	for (size_t i = 0; i < LANES_MAX && !e->code; i++)
		if (w->open[i] && pq_copy_await(w->dst[i], e) >= 0 &&
		    pq_copy_end(w->dst[i], e) == 0)
			pq_copy_await(w->dst[i], e);
	return e->code;
}

/* The letters themselves are refused. */
static void add_remedy(const struct queue_batch *b, struct err *e)
{
	char batch[40] = "";

	if (!b->of_table)
		snprintf(batch, sizeof batch, "events of batch %" PRId64, b->id);
	err_add(e, "; bad %s cannot become dead letters: %s", b->of_table ? "rows" : batch,
		sqlstate_is(e->sqlstate, SQLSTATE_DUPLICATE) ?
		"old letters of this consumer have their numbers; --replay those, or delete them" :
		"on_error = stop names the first, skip leaves them out");
}

/* What all letters of the batch begin with. */
static void add_batch(struct buf *line, const struct conf *c, const struct queue_batch *b,
	bool time)
{
	time_t s = (time_t)(b->tick_us / 1000000);
	struct tm tm;
	char text[40] = "";

	add_field(line, c->consumer_name);
	add_field(line, c->queue_name);
	buf_fmt(line, "%" PRId64 "\t%" PRId64 "\t", b->id, b->tick);
	if (!time || !gmtime_r(&s, &tm))
		return;
	strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
	buf_fmt(line, "%s.%06d+00\t", text, (int)(b->tick_us % 1000000));
}

/* Appends the COPY statement, and to more the columns of an event that an earlier table lacks. */
static void add_copy(struct buf *sql, struct buf *more, unsigned lacks)
{
	add_later(more, lacks);
	buf_fmt(sql, "COPY " TABLE " (consumer, queue, batch_id, tick_id, %spartition, sqlstate,"
		" message, %s%sev_id, ev_time, ev_type, ev_data, ev_extra1%s) FROM STDIN",
		lacks & 1u << LATER_TIME ? "" : "tick_time, ",
		lacks & 1u << LATER_COLUMN ? "" : "column_name, ",
		lacks & 1u << LATER_VALUE ? "" : "value, ", buf_cstr(more));
}

/* Those of the list that are to be written, sorted by their events; caller frees. */
static struct wanted_letter *sort_letters(const struct letters *l)
{
	struct wanted_letter *wanted = mem_alloc((l->ntext + 1) * sizeof *wanted);

	for (size_t i = letters_told(l), n = 0; i < l->n; i++)
		wanted[n++] = (struct wanted_letter){ l->at[i].event, i };
	qsort(wanted, l->ntext, sizeof *wanted, by_event);
	return wanted;
}

static int copy_letters(struct writing *w, struct pq *src, const struct conf *c,
	const struct queue_batch *b, size_t *n, struct err *e)
{
	struct buf batch = { 0 }, sql = { 0 }, more = { 0 }, ids = { 0 };

	add_batch(&batch, c, b, !(w->lacks & 1u << LATER_TIME));
	add_copy(&sql, &more, w->lacks);
	add_ids(&ids, w->list, letters_told(w->list));
	w->batch = buf_cstr(&batch);
	w->copy = buf_cstr(&sql);
	if ((b->of_table ? slice_read_some(src, b->event_sql, more.p, buf_cstr(&ids), e) :
	    events_read_some(src, b, more.p, buf_cstr(&ids), e)) == 0)
		write_letters(w, src, n, e);
	buf_free(&batch);
	buf_free(&sql);
	buf_free(&more);
	buf_free(&ids);
	return e->code;
}

int dead_write(struct letters *list, struct pq *src, struct pq *const *dst, const struct conf *c,
	const struct queue_batch *b, struct err *e)
{
	struct writing w = { .list = list, .dst = dst, .n = list->ntext };
	size_t n = 0;

	if (!w.n || ask_columns(dst[list->at[letters_told(list)].lane], &w.lacks, e) < 0)
		return e->code;
	struct wanted_letter *wanted = sort_letters(list);
	w.wanted = wanted;
	copy_letters(&w, src, c, b, &n, e);
	free(wanted);
	if (e->code == ERR_DATA)
		add_remedy(b, e);
	if (!e->code && n != w.n)
		err_set(e, ERR_OTHER, "src_db: %zu events that cannot be written are asked for"
			" again, and %zu are there", w.n, n);
	if (!e->code)
		letters_drop_texts(list);
	return e->code;
}

/* ---- reading again */

static int is_there(struct pq *dst, bool *yes, struct err *e)
{
	if (trust_require(dst, "tdispatch", e) < 0)
		return e->code;
	if (pq_query(dst, PQ_OWN_PATH "SELECT (to_regclass('tdispatch.dead_letter') IS NOT"
		" NULL)::int4", e) == 0)
		*yes = pq_int(dst, 0, 0, 0);
	return e->code;
}

static void add_whose(struct buf *sql, const struct conf *c)
{
	buf_str(sql, " FROM tdispatch.dead_letter WHERE consumer" PQ_OWN("="));
	buf_literal(sql, span_of(c->consumer_name));
	buf_str(sql, " AND queue" PQ_OWN("="));
	buf_literal(sql, span_of(c->queue_name));
}

int dead_next(struct pq *dst, const struct conf *c, int64_t after, int64_t *batch,
	int64_t *letters, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH "SELECT batch_id, count(*)");
	add_whose(&sql, c);
	buf_fmt(&sql, " AND batch_id > %" PRId64 " GROUP BY batch_id ORDER BY batch_id LIMIT 1",
		after);
	int rc = pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc < 0)
		return e->code;
	*batch = pq_rows(dst) ? pq_int(dst, 0, 0, 0) : 0;
	*letters = pq_rows(dst) ? pq_int(dst, 0, 1, 0) : 0;
	return 0;
}

int dead_count(struct pq *dst, const struct conf *c, int64_t *letters, struct err *e)
{
	struct buf sql = { 0 };
	bool yes = false;

	*letters = 0;
	if (is_there(dst, &yes, e) < 0 || !yes)
		return e->code;
	buf_str(&sql, PQ_OWN_PATH "SELECT count(*)");
	add_whose(&sql, c);
	if (pq_query(dst, buf_cstr(&sql), e) == 0)
		*letters = pq_int(dst, 0, 0, 0);
	buf_free(&sql);
	return e->code;
}

int dead_has_parts(struct pq *dst, unsigned parts, struct err *e)
{
	static const unsigned needs[LATER] = {
		EVENT_BATCH_TIME | EVENT_LOCAL_BATCH_TIME, EVENT_TXID, 0, EVENT_OLD,
	};
	unsigned lacks;

	if (ask_columns(dst, &lacks, e) < 0)
		return e->code;
	for (size_t i = 0; i < LATER; i++)
		if (lacks & 1u << i && needs[i] & parts)
			err_set(e, ERR_CONF, "dead letters have no %s, which fields, part_field"
				" or row_mode asks for: --install adds it, for letters that come"
				" from then on", later[i].name);
	return e->code;
}

/* A column that is not there is not in the query: what needs it fails, and reads no NULL for it. */
char *dead_event_sql(struct pq *dst, const struct conf *c, int64_t batch, struct err *e)
{
	struct buf sql = { 0 };
	unsigned lacks;

	if (ask_columns(dst, &lacks, e) < 0)
		return NULL;
	buf_fmt(&sql, "SELECT ev_id, ev_time, ev_type, ev_data, ev_extra1, tick_id%s",
		lacks & 1 ? "" : ", tick_time");
	add_later(&sql, lacks);
	add_whose(&sql, c);
	buf_fmt(&sql, " AND batch_id = %" PRId64, batch);
	buf_cstr(&sql);
	return sql.p;
}

int dead_remove(const struct letters *list, struct pq *dst, const struct conf *c, int64_t batch,
	struct err *e)
{
	struct buf sql = { 0 }, ids = { 0 };

	add_ids(&ids, list, 0);
	/* the search_path stays: the partitions are looked for by it before the commit */
	buf_str(&sql, "DELETE");
	add_whose(&sql, c);
	buf_fmt(&sql, " AND batch_id" PQ_OWN("=") "%" PRId64 " AND ev_id" PQ_OWN("<>")
		"ALL ('{%s}'::pg_catalog.int8[])", batch, buf_cstr(&ids));
	int rc = pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	buf_free(&ids);
	return rc;
}

/* ---- the table */

int dead_require(struct pq *dst, struct err *e)
{
	bool yes = false;

	if (is_there(dst, &yes, e) == 0 && !yes)
		return err_set(e, ERR_SHAPE, "dst_db has no table tdispatch.dead_letter: --install"
			" creates it, where the"
			" config says on_error = dead_letter");
	return e->code;
}

int dead_lacks(struct pq *dst, struct buf *columns, struct err *e)
{
	unsigned lacks;

	if (ask_columns(dst, &lacks, e) < 0)
		return e->code;
	for (size_t i = 0; i < LATER; i++)
		if (lacks & 1u << i)
			buf_fmt(columns, "%s%s", columns->len ? ", " : "", later[i].name);
	return 0;
}

/* The key prevents duplicate letters, whatever happens to queue and positions. */
static const char create_sql[] =
	"CREATE SCHEMA IF NOT EXISTS tdispatch;"
	"CREATE TABLE IF NOT EXISTS " TABLE " ("
	" consumer text NOT NULL, queue text NOT NULL, batch_id bigint NOT NULL, ev_id bigint NOT"
	" NULL,"
	" tick_id bigint NOT NULL, ev_time timestamptz, ev_type text, ev_data text, ev_extra1 text,"
	" partition text NOT NULL, sqlstate text NOT NULL, message text NOT NULL,"
	" died_at timestamptz NOT NULL DEFAULT now(),"
	" PRIMARY KEY (consumer, queue, batch_id, ev_id));";

int dead_install(struct pq *dst, bool *created, struct buf *added, struct err *e)
{
	struct buf sql = { 0 };
	bool yes = false;

	if (is_there(dst, &yes, e) < 0 || dead_lacks(dst, added, e) < 0)
		return e->code;
	*created = !yes;
	if (yes && !added->len)
		return 0;
	buf_fmt(&sql, "BEGIN;" PQ_OWN_PATH INSTALL_LOCK "SET LOCAL client_min_messages = warning;"
		"SET LOCAL lock_timeout = %d;%sALTER TABLE " TABLE, INSTALL_LOCK_TIMEOUT_MS,
		yes ? "" : create_sql);
	for (size_t i = 0; i < LATER; i++)
		buf_fmt(&sql, "%s ADD COLUMN IF NOT EXISTS %s %s", i ? "," : "", later[i].name,
			later[i].type);
	buf_str(&sql, "; COMMIT");
	pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	return e->code;
}

/* ---- tdispatch.slice: how far a table has been copied, where one is the source */

static const char slice_sql[] =
	"BEGIN;" PQ_OWN_PATH INSTALL_LOCK "SET LOCAL client_min_messages = warning;"
	"CREATE SCHEMA IF NOT EXISTS tdispatch;"
	"CREATE TABLE IF NOT EXISTS tdispatch.slice ("
	" consumer text NOT NULL, source text NOT NULL, identity text NOT NULL,"
	" lane integer NOT NULL, upto text, PRIMARY KEY (consumer, source, lane));"
	"COMMIT";

int dead_install_slice(struct pq *dst, bool *created, struct err *e)
{
	if (trust_require(dst, "tdispatch", e) < 0 ||
	    pq_query(dst, PQ_OWN_PATH "SELECT (to_regclass('tdispatch.slice') IS NULL)::int4",
	    e) < 0)
		return e->code;
	*created = pq_int(dst, 0, 0, 0);
	return *created ? pq_query(dst, slice_sql, e) : 0;
}
