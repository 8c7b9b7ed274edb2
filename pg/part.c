/*
 * Finding and creating partitions. An advisory lock serializes the processes that create partitions
 * of one table.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

/* ---- one partition: its name, and the SQL that creates it */

#define PKEY_MAX 33     /* columns: one more than a key may have, so that the server refuses it */

void part_name(struct buf *name, const struct dest *d, int64_t start_s)
{
	char suffix[PERIOD_SUFFIX_MAX];

	period_suffix(&d->period, start_s, suffix);
	buf_add(name, d->table.p, d->table.n);
	buf_str(name, suffix);
}

/* The columns of the event's primary key as the target names them; returns their number. */
static size_t pkey_columns(const struct part_want *want, struct buf *text,
	struct span pkey[PKEY_MAX])
{
	size_t n = type_pkey(want->ev_type, text, pkey, PKEY_MAX);

	for (size_t i = 0; i < n; i++)
		pkey[i] = route_target(want->route, pkey[i]);
	return n;
}

/* Appends that piece of part_template. */
static int expand(struct buf *sql, const struct part_want *want, struct span piece, struct err *e)
{
	const struct dest *d = want->dest;
	struct span pkey[PKEY_MAX];
	char start[PERIOD_LITERAL_MAX], end[PERIOD_LITERAL_MAX];
	struct buf text = { 0 };
	struct template_words words = {
		.schema = d->schema, .parent = d->table, .part = want->name,
		.pkey = pkey, .npkey = pkey_columns(want, &text, pkey),
	};

	if (d->part_by != PART_BY_NOTHING) {
		period_literal(&d->period, want->start_s, start);
		if (d->period.method != PERIOD_LIST)
			period_literal(&d->period, want->end_s, end);
		words.numbers = d->period.method == PERIOD_NUMBER;
		words.value = span_of(d->period.method == PERIOD_LIST ? start : NULL);
		if (!words.value.p) {
			words.start = span_of(start);
			words.end = span_of(end);
		}
		words.part_field = dest_part_target(d);
	}
	int rc = template_expand(sql, piece, &words, e);
	buf_free(&text);
	if (rc == 0)
		return 0;
	struct err why = *e;
	*e = (struct err){ 0 };
	return err_set(e, why.code == ERR_DATA ? ERR_DATA : ERR_SHAPE,
		"partition %.*s cannot be created by part_template: %.800s",
		(int)want->name.n, want->name.p, why.msg);
}

int part_sql(struct buf *sql, const struct part_want *want, struct err *e)
{
	return expand(sql, want, span_of(want->dest->part_template), e);
}

int part_sql_split(struct buf *sql, const struct part_want *want, struct attach_split *split,
	struct err *e)
{
	size_t *const ends[] = {
		&split->like, &split->parent, &split->parent_end, &split->tail, &split->attach,
	};
	const char *text = want->dest->part_template, *from = text;

	for (size_t i = 0; i < sizeof ends / sizeof *ends && !e->code; i++) {
		const char *to = text + *ends[i];
		if (to < from)          /* LIKE has no parent that it inherits from */
			continue;
		expand(sql, want, (struct span){ from, (size_t)(to - from) }, e);
		*ends[i] = sql->len;
		from = to;
	}
	if (!e->code)
		expand(sql, want, span_of(from), e);
	return e->code;
}

/* ---- many at a time */

/* Appends a query that returns a row for each partition, in order: does it exist? */
static void add_look(struct buf *sql, const struct dest *d, const struct part_new *list, size_t n)
{
	buf_str(sql, "SELECT w.part IS NOT NULL FROM (VALUES ");
	for (size_t i = 0; i < n; i++) {
		buf_fmt(sql, "%s(%zu, ", i ? "), " : "", i);
		buf_regclass(sql, d->schema, span_of(list[i].name));
	}
	buf_str(sql, ")) w (i, part) ORDER BY w.i");
}

static void take_look(const struct pq *pq, struct part_new *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		list[i].there = strcmp(pq_value(pq, (int)i, 0), "t") == 0;
}

/* Checks those that exist and that we did not create. *at: the first that no row may go to. */
static int refuse_wrong(struct pq *pq, const struct dest *d, const struct part_new *list, size_t n,
	size_t *at, struct err *e)
{
	struct table_name *names = mem_alloc((n + 1) * sizeof *names);
	size_t m = 0, which = 0;
	bool children;

	*at = 0;
	for (size_t i = 0; i < n; i++)
		if (list[i].there && !list[i].made)
			names[m++] = (struct table_name){ span_of(list[i].name), list[i].old };
	if (admit_check(pq, d, names, m, &children, &which, e) < 0) {
		while (*at + 1 < n && which < m && !span_is(names[which].name, list[*at].name))
			++*at;
		if (!*e->sqlstate && (e->code == ERR_SHAPE || e->code == ERR_RIGHTS) &&
		    d->period.method == PERIOD_LIST)
			e->code = ERR_DATA;     /* a value may make any name */
	}
	free(names);
	return e->code;
}

int part_look(struct pq *pq, const struct dest *d, struct part_new *list, size_t n, size_t *at,
	struct err *e)
{
	struct buf sql = { 0 };

	*at = 0;
	add_look(&sql, d, list, n);
	if (pq_query(pq, buf_cstr(&sql), e) == 0) {
		take_look(pq, list, n);
		refuse_wrong(pq, d, list, n, at, e);
	}
	buf_free(&sql);
	return e->code;
}

int part_find(struct pq *pq, const struct dest *d, struct part_new *list, size_t n, struct err *e)
{
	size_t at;

	while (n && part_look(pq, d, list, n, &at, e) == ERR_DATA) {
		list[at].made = true;   /* so that it is not looked at again */
		*e = (struct err){ 0 };
	}
	for (size_t i = 0; i < n; i++) {
		list[i].there = list[i].there && !list[i].made;
		list[i].made = false;
	}
	return e->code;
}

#define CREATION_LOCK 0x74647074        /* "tdpt" */

/* Appends the two numbers of the advisory lock for creating partitions of the table. The second is
 * its oid, since two configs may write its name differently; 0 if it does not exist. */
static void add_lock_key(struct buf *sql, const struct dest *d)
{
	buf_fmt(sql, "%d, coalesce(", CREATION_LOCK);
	buf_regclass(sql, d->schema, d->table);
	buf_str(sql, ", 0::pg_catalog.oid)::pg_catalog.int4");
}

/* Opens a transaction that holds the lock for creating partitions, and looks again. */
static int begin(struct pq *ddl, const struct dest *d, struct part_new *list, size_t n,
	int lock_timeout_ms, size_t *at, struct err *e)
{
	struct buf sql = { 0 };

	ddl_begin(&sql, ddl, lock_timeout_ms);
	buf_str(&sql, "SELECT pg_catalog.pg_advisory_xact_lock(");
	add_lock_key(&sql, d);
	buf_str(&sql, ");");
	add_look(&sql, d, list, n);
	*at = 0;
	if (pq_query(ddl, buf_cstr(&sql), e) == 0) {
		take_look(ddl, list, n);
		refuse_wrong(ddl, d, list, n, at, e);
	} else if (e->code == ERR_TIMEOUT) {
		e->code = 0;
		err_set(e, ERR_CONFLICT, "another process creates partitions of %s at this moment",
			d->dest_table);
	}
	buf_free(&sql);
	return e->code;
}

static void add_model(struct buf *sql, const struct dest *d, uint64_t model)
{
	char name[40];

	snprintf(name, sizeof name, "tdispatch_model_%016" PRIx64, model);
	buf_qualified(sql, d->schema, span_of(name));
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

/* Creates the missing ones and runs the statements after, in one message. 0: all exist. */
static int run_templates(struct pq *pq, const struct dest *d, struct part_new *list, size_t n,
	const char *after, struct err *e)
{
	struct buf sql = { 0 };

	for (size_t i = 0; i < n; i++) {
		list[i].made = !list[i].there;
		if (list[i].made)
			add_head(&sql, d, &list[i]);
	}
	buf_str(&sql, after);
	add_look(&sql, d, list, n);
	if (pq_query(pq, buf_cstr(&sql), e) < 0)
		pq_judge(pq, SQLSTATE_CREATE, e);
	else
		take_look(pq, list, n);
	for (size_t i = 0; i < n && !e->code; i++)
		if (!list[i].there)
			err_set(e, ERR_SHAPE, "it ran, but there is no table %s after it: does it"
				" name _DEST_TABLE?", list[i].name);
	buf_free(&sql);
	return e->code;
}

/* In one transaction, or in several if a template ends it. *at: which one failed; n: the COMMIT
 * did. *kept: how many are committed. */
static int create(struct pq *ddl, const struct dest *d, struct part_new *list, size_t n,
	int lock_timeout_ms, size_t *at, size_t *kept, struct err *e)
{
	*kept = 0;
	for (*at = 0; *at < n; ++*at) {
		if (!pq_in_transaction(ddl)) {
			size_t after;
			*kept = *at;
			if (begin(ddl, d, list + *at, n - *at, lock_timeout_ms, &after,
			    e) < 0) {
				*at += after;
				return e->code;
			}
		}
		if (!list[*at].there && run_templates(ddl, d, &list[*at], 1, "", e) < 0)
			return e->code;
	}
	if (pq_in_transaction(ddl) && pq_query(ddl, "COMMIT", e) < 0) {
		pq_judge(ddl, SQLSTATE_CREATE, e);
		return e->code;
	}
	*kept = n;
	return 0;
}

static void undo(struct pq *ddl, struct part_new *list, size_t n)
{
	struct err ignored = { 0 };

	pq_query(ddl, "ROLLBACK", &ignored);
	for (size_t i = 0; i < n; i++)
		list[i].there = list[i].made = false;
}

/* Is the template at fault because dest_table is not there? */
static bool lacks_parent(struct pq *ddl, const struct dest *d, const struct err *cause)
{
	struct table parent;
	struct err e = { 0 };

	return sqlstate_is(cause->sqlstate, SQLSTATE_NO_TABLE) &&
		strstr(d->part_template, template_text[PARENT]) &&
		table_find(ddl, d, d->table, &parent, &e) == 0 && !*parent.oid;
}

/* Has something else the partition's name, or one that the template makes of it? By a list that is
 * the value's fault. */
static bool is_value_taken(const struct dest *d, const char *name, const struct err *cause)
{
	return d->period.method == PERIOD_LIST && strstr(cause->msg, name) &&
		sqlstate_is(cause->sqlstate, SQLSTATE_TAKEN);
}

/* Rewords e, the reason why a partition cannot be created: a lock or a race becomes ERR_TIMEOUT, a
 * fault of the template ERR_SHAPE, one of a list's value ERR_DATA. */
static int explain(struct pq *ddl, const struct dest *d, const char *name, struct err *e)
{
	struct err cause = *e;
	bool wait = cause.code == ERR_TIMEOUT ||
		(cause.code == ERR_CONFLICT && !sqlstate_is(cause.sqlstate, SQLSTATE_TAKEN));
	bool as_it_is = cause.code == ERR_RIGHTS || cause.code == ERR_RESOURCE ||
		cause.code == ERR_OTHER;

	*e = (struct err){ 0 };
	memcpy(e->sqlstate, cause.sqlstate, sizeof e->sqlstate);
	if (lacks_parent(ddl, d, &cause))
		return err_set(e, ERR_SHAPE, "partition %s cannot be created: dst_db has no table"
			" %s, which part_template needs (_PARENT): create it, or check dest_table",
			name, d->dest_table);
	err_set(e, wait ? ERR_TIMEOUT : as_it_is ? cause.code :
		is_value_taken(d, name, &cause) ? ERR_DATA : ERR_SHAPE,
		"partition %s cannot be created by part_template: %.800s", name, cause.msg);
	if (wait)
		ddl_say_who(ddl, d, d->table, e);
	return e->code;
}

/* Does the partition exist now? A program that does not take our lock may have just created it. */
static bool lost_race(struct pq *ddl, const struct dest *d, struct part_new *part)
{
	struct err e = { 0 };
	size_t at;

	return part_look(ddl, d, part, 1, &at, &e) == 0 && part->there;
}

int part_make(struct pq *ddl, const struct dest *d, struct part_new *list, size_t n,
	int lock_timeout_ms, size_t *at, struct err *e)
{
	size_t kept;

	if (create(ddl, d, list, n, lock_timeout_ms, at, &kept, e) == 0)
		return 0;
	bool told = !*e->sqlstate || sqlstate_is(e->sqlstate, SQLSTATE_LOCKED);
	bool alone = n == 1, raced = e->code == ERR_CONFLICT && !told;
	undo(ddl, list + kept, n - kept);
	bool as_it_is = e->code == ERR_RIGHTS || e->code == ERR_CONFLICT || e->code == ERR_DATA;
	if (sqlstate_is_lost(e) || (told && as_it_is))
		return e->code;
	if (alone && raced && lost_race(ddl, d, list)) {
		*e = (struct err){ 0 };
		return 0;
	}
	if (*at == n)
		*at = 0;
	return explain(ddl, d, list[*at].name, e);
}

/* ---- inside the transaction that loads */

/* An event trigger may lock anything, until the commit. */
#define NO_EVENT_TRIGGER \
	" AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_event_trigger g" \
	" WHERE g.evtenabled" PQ_OWN("<>") "'D'::pg_catalog.\"char\"" \
	" AND g.evtevent" PQ_OWN("<>") "'login'::pg_catalog.name)"

/* Is dest_table, c, a plain table? Its oid follows. */
static const char inherits_sql[] =
	" FROM pg_catalog.pg_class c"
	" WHERE c.relkind" PQ_OWN("=") "'r'::pg_catalog.\"char\""
	NO_EVENT_TRIGGER
	" AND c.oid" PQ_OWN("=");

/* Is it a top-level partitioned table whose ATTACH locks nothing that others wait for: no default
 * partition, no foreign key, no event trigger? */
static const char inside_sql[] =
	" FROM pg_catalog.pg_class c"
	" JOIN pg_catalog.pg_partitioned_table t ON t.partrelid" PQ_OWN("=") "c.oid"
	" WHERE NOT c.relispartition"
	" AND t.partdefid" PQ_OWN("=") "0::pg_catalog.oid"
	" AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k"
	" WHERE k.contype" PQ_OWN("=") "'f'::pg_catalog.\"char\""
	" AND (k.conrelid" PQ_OWN("=") "c.oid"
	" OR k.confrelid" PQ_OWN("=") "c.oid))"
	NO_EVENT_TRIGGER
	" AND c.oid" PQ_OWN("=");

/* Further conditions: a row that comes before ATTACH is like one that comes after it. */
static const char last_sql[] =
	" AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger r"
	" WHERE r.tgrelid" PQ_OWN("=") "c.oid"
	" AND (r.tgtype" PQ_OWN("&") "1::pg_catalog.int2)" PQ_OWN("<>") "0::pg_catalog.int2)"
	" AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a"
	" WHERE a.attrelid" PQ_OWN("=") "c.oid AND a.attnum" PQ_OWN(">") "0::pg_catalog.int2"
	" AND a.attidentity" PQ_OWN("<>") "''::pg_catalog.\"char\")"
	" AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_publication p WHERE p.puballtables)"
	" AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_publication_rel p"
	" WHERE p.prrelid" PQ_OWN("=") "c.oid)";

/* Appends FROM and WHERE: they give a row if partitions may be created in that way. */
static void add_may(struct buf *sql, const struct pq *lane, const struct dest *d, enum part_way way)
{
	buf_str(sql, way == PART_INHERITS ? inherits_sql : inside_sql);
	buf_regclass(sql, d->schema, d->table);
	if (way != PART_ATTACHED_LAST)
		return;
	buf_str(sql, last_sql);
	if (pq_server(lane)->version >= 150000)
		buf_str(sql, " AND NOT EXISTS (SELECT 1"
			" FROM pg_catalog.pg_publication_namespace p"
			" WHERE p.pnnspid" PQ_OWN("=") "c.relnamespace)");
}

int part_enter(struct pq *lane, const struct dest *d, enum part_way way, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	*yes = false;
	/* ATTACH locks the parent AccessExclusive there */
	if (way != PART_INHERITS && pq_server(lane)->version < 120000)
		return 0;
	buf_str(&sql, "SELECT pg_catalog.pg_try_advisory_xact_lock(");
	add_lock_key(&sql, d);
	buf_str(&sql, ")");
	add_may(&sql, lane, d, way);
	if (pq_query(lane, buf_cstr(&sql), e) == 0 && pq_rows(lane) > 0)
		*yes = strcmp(pq_value(lane, 0, 0), "t") == 0;
	buf_free(&sql);
	return e->code;
}

int part_enter_last(struct pq *lane, const struct dest *d, bool alone, int lock_timeout_ms,
	bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SET LOCAL lock_timeout = %d; LOCK TABLE ONLY ", lock_timeout_ms);
	buf_qualified(&sql, d->schema, d->table);
	buf_fmt(&sql, " IN %s MODE; SET LOCAL lock_timeout = %d; SELECT 1",
		alone ? "SHARE UPDATE EXCLUSIVE" : "ROW EXCLUSIVE", DATA_LOCK_TIMEOUT_MS);
	add_may(&sql, lane, d, PART_ATTACHED_LAST);
	*yes = pq_query(lane, buf_cstr(&sql), e) == 0 && pq_rows(lane) > 0;
	buf_free(&sql);
	return e->code;
}

uint64_t part_model(const struct part_new *list)
{
	return word_hash(list->name, strlen(list->name)) | 1;
}

/* What children take from their parent is in the model, and nothing else. */
static void add_create_model(struct buf *sql, const struct dest *d, uint64_t model)
{
	buf_str(sql, "; CREATE TABLE ");
	add_model(sql, d, model);
	buf_str(sql, " (LIKE ");
	buf_qualified(sql, d->schema, d->table);
	buf_str(sql, " INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY EXCLUDING STATISTICS"
		" EXCLUDING COMMENTS)");
}

int part_make_inside(struct pq *lane, const struct dest *d, struct part_new *list, size_t n,
	uint64_t new_model, int lock_timeout_ms, struct err *e)
{
	struct buf before = { 0 };
	char after[60];

	/* a message of its own: the server scans all of a message before it runs any of it */
	buf_fmt(&before, "SET LOCAL standard_conforming_strings = on;"
		" SET LOCAL lock_timeout = %d", lock_timeout_ms);
	if (new_model)
		add_create_model(&before, d, new_model);
	snprintf(after, sizeof after, "SET LOCAL lock_timeout = %d;", DATA_LOCK_TIMEOUT_MS);
	if (pq_query(lane, buf_cstr(&before), e) == 0)
		run_templates(lane, d, list, n, after, e);
	buf_free(&before);
	return e->code;
}

/* ---- after the rows */

void part_add_indexes(struct buf *sql, const struct part_new *part)
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

void part_add_attach(struct buf *sql, const struct dest *d, const struct part_new *part)
{
	if (part->model)
		add_inherit(sql, d, part);
	else if (part->first && part->sql[part->split.attach])
		buf_fmt(sql, "%s\n;", part->sql + part->split.attach);
}

void part_add_drop(struct buf *sql, const struct dest *d, uint64_t model)
{
	buf_str(sql, "DROP TABLE ");
	add_model(sql, d, model);
	buf_str(sql, ";");
}

/* To start a parallel worker takes longer than to read a smaller table. */
#define FEW_WORKERS "SET LOCAL min_parallel_table_scan_size = '64MB';"

int part_finish(struct pq *lane, const char *sql, int lock_timeout_ms, struct err *e)
{
	struct buf all = { 0 };

	buf_fmt(&all, "%sSET LOCAL lock_timeout = %d; %s SET LOCAL lock_timeout = %d",
		pq_server(lane)->version >= 110000 ? FEW_WORKERS : "", lock_timeout_ms, sql,
		DATA_LOCK_TIMEOUT_MS);
	int rc = pq_send(lane, buf_cstr(&all), e);
	buf_free(&all);
	return rc;
}

int part_finish_step(struct pq *lane, struct err *e)
{
	int step = PQ_READY;

	while (step == PQ_READY)
		step = pq_step(lane, e);
	if (step < 0)
		pq_judge(lane, SQLSTATE_ROWS, e);
	return step < 0 ? e->code : step;
}
