/*
 * A destination: checks its keys together and derives the rest.
 *
 * Knows nothing of files: the caller says where the value of a key is from.
 */
#include <stdio.h>
#include <string.h>

#include "private.h"

/* Returns key, for the caller of dest_complete. */
static const char *bad(struct err *e, const char *key, const char *why)
{
	err_set(e, ERR_CONF, "%s", why);
	return key;
}

/* ---- dest_table, fields */

static const char *split_dest_table(struct dest *d, struct err *e)
{
	char *dot = strchr(d->dest_table, '.');

	d->table = span_of(dot ? dot + 1 : d->dest_table);
	d->schema = (struct span){ d->dest_table, dot ? (size_t)(dot - d->dest_table) : 0 };
	if (d->table.n == 0 || (dot && d->schema.n == 0))
		return bad(e, "dest_table", "it must be name or schema.name");
	if (d->schema.n > NAME_BYTES_MAX || d->table.n > NAME_BYTES_MAX)
		return bad(e, "dest_table", "a name over 63 bytes, more than the server takes");
	if (d->table.n + period_suffix_min(d->period.method) > NAME_BYTES_MAX)
		return bad(e, "dest_table", "its partitions' names would be over 63 bytes,"
			" more than the server takes");
	return NULL;
}

static struct span trimmed(const char *p, size_t n)
{
	while (n && strchr(" \t\r\n", *p)) {
		p++;
		n--;
	}
	while (n && strchr(" \t\r\n", p[n - 1]))
		n--;
	return (struct span){ p, n };
}

static const char *split_field(struct span item, struct field *field, struct err *e)
{
	const char *colon = item.n ? memchr(item.p, ':', item.n) : NULL;
	size_t n = colon ? (size_t)(colon - item.p) : item.n;

	if (colon && memchr(colon + 1, ':', item.n - n - 1))
		return bad(e, "fields", "two colons in one item: col, or col:newname");
	field->source = trimmed(item.p, n);
	field->target = colon ? trimmed(colon + 1, item.n - n - 1) : field->source;
	field->told = told_word(field->source);
	if (!field->source.n || !field->target.n)
		return bad(e, "fields", "an empty name in the list");
	if (span_is(field->source, "*"))
		return bad(e, "fields", "* has no name of its own");
	if (field->told != TOLD_NOTHING && !colon)
		return bad(e, "fields", "a word for what the event tells needs a name: _OP:op");
	if (field->target.n > NAME_BYTES_MAX)
		return bad(e, "fields", "a name over 63 bytes, more than the server takes");
	return NULL;
}

/* Takes one item of the list. */
static const char *add_item(struct dest *d, struct span item, struct err *e)
{
	struct field field;

	if (span_is(item, "*") && d->all)
		return bad(e, "fields", "* stands there twice");
	if (span_is(item, "*")) {
		d->all = true;
		return NULL;
	}
	const char *key = split_field(item, &field, e);
	if (key)
		return key;
	if (field.told == TOLD_NOTHING && filter_has(d->skip_fields, field.source))
		return NULL;
	if (d->nfield == COLUMNS_MAX)
		return bad(e, "fields", "more columns than a table can have");
	for (size_t i = 0; i < d->nfield; i++)
		if (span_eq(d->field[i].target, field.target))
			return bad(e, "fields", "two columns with one name");
	size_t at = d->nfield++;        /* words stand behind the others */
	for (size_t i = d->nword; field.told == TOLD_NOTHING && i > 0; i--, at--)
		d->field[at] = d->field[at - 1];
	d->field[at] = field;
	d->nword += field.told != TOLD_NOTHING;
	return NULL;
}

static const char *split_fields(struct dest *d, struct err *e)
{
	const char *list = d->fields, *key = NULL;
	struct span item;
	size_t n = 0;

	d->nfield = d->nword = 0;
	d->all = false;
	for (const char *p = list; filter_next(&p, &item); n++)
		if (span_is(item, "*"))
			n--;
	if (n)
		d->field = mem_alloc((n < COLUMNS_MAX ? n : COLUMNS_MAX) * sizeof *d->field);
	while (!key && filter_next(&list, &item))
		key = add_item(d, item, e);
	if (!key && !d->nfield && !d->all)
		return bad(e, "skip_fields", "it leaves nothing of fields");
	return key;
}

static const char *check_lists(struct dest *d, struct err *e)
{
	if (!filter_is_list(d->skip_fields))
		return bad(e, "skip_fields", "an empty name in the list");
	if (!filter_is_list(d->event_types))
		return bad(e, "event_types", "an empty name in the list");
	return NULL;
}

/* ---- row_... */

bool dest_writes(const struct dest *d, struct span source)
{
	if (filter_has(d->skip_fields, source))
		return false;
	for (size_t i = 0; i < d->nfield - d->nword; i++)
		if (span_eq(d->field[i].source, source))
			return true;
	return d->all;
}

static const char *check_row_key(struct dest *d, struct err *e)
{
	const char *list = d->row_key;
	struct span item;

	if (list && d->row_mode != ROWS_KEEP_LATEST)
		return bad(e, "row_key", "it needs row_mode = keep_latest");
	if (!filter_is_list(list))
		return bad(e, "row_key", "an empty name in the list");
	while (filter_next(&list, &item))
		if (!dest_writes(d, item))
			return bad(e, "row_key", "a column that is not written, by fields and"
				" skip_fields");
	return NULL;
}

/* A key's row must be found again by each of its events. */
static const char *check_row_mode(struct dest *d, struct err *e)
{
	if (d->row_mode == ROWS_KEEP_LATEST &&
	    (d->part_by == PART_BY_EVTIME || d->part_by == PART_BY_BATCHTIME))
		return bad(e, "part_field", "with row_mode = keep_latest it must be a column: the"
			" time of an event is not that of its key's row");
	return check_row_key(d, e);
}

/* ---- part_... */

/* Is the table cut by the value of a column, and not by a time? */
static bool is_by_value(const struct dest *d)
{
	return d->period.method == PERIOD_LIST || d->period.method == PERIOD_NUMBER;
}

static const char *choose_method(struct dest *d, struct err *e)
{
	if (!period_method(&d->period, d->part_method))
		return bad(e, "part_method", "neither yearly, monthly, weekly, daily nor hourly,"
			" nor list, nor number N with N from 1");
	if (is_by_value(d) && d->part_by == PART_BY_NOTHING)
		return bad(e, "part_method", "list and number need part_field: the column that"
			" picks the partition");
	if (is_by_value(d) && d->part_by != PART_BY_COLUMN)
		return bad(e, "part_field", "with part_method = list and number it must be a"
			" column of the event");
	return NULL;
}

static const char *choose_period(struct dest *d, struct err *e)
{
	const char *key;

	d->part_by = !d->part_field ? PART_BY_NOTHING :
		strcmp(d->part_field, "_EVTIME") == 0 ? PART_BY_EVTIME :
		strcmp(d->part_field, "_BATCHTIME") == 0 ? PART_BY_BATCHTIME : PART_BY_COLUMN;
	if ((key = choose_method(d, e)))
		return key;
	if (!period_zone(&d->period, d->part_timezone))
		return bad(e, "part_timezone", "neither text, UTC nor a fixed offset such as"
			" +02:00, nor the name of a zone such as Europe/Berlin");
	if (d->part_by == PART_BY_NOTHING)
		d->period.method = PERIOD_NONE;
	if (d->period.named && d->period.method == PERIOD_HOURLY)
		return bad(e, "part_timezone", "part_method = hourly needs UTC or an offset: where"
			" clocks are put back, two hours have one name");
	return NULL;
}

static const char *choose_keep(struct dest *d, struct err *e)
{
	if (d->part_keep && !period_age(&d->keep, d->part_keep))
		return bad(e, "part_keep", "not a number from 1 to 99999 and hours, days, weeks,"
			" months or years");
	if (d->part_keep && !d->part_field)
		return bad(e, "part_keep", "it needs part_field: there are no partitions without"
			" it");
	if (d->part_keep && is_by_value(d))
		return bad(e, "part_keep", "part_method = list and number tell no age");
	if (d->part_premake && d->period.method == PERIOD_LIST)
		return bad(e, "part_premake", "part_method = list has no next value");
	if (!d->part_keep && d->part_late != PART_LATE_CREATE)
		return bad(e, "part_late", "it needs part_keep: without it no row is late");
	if (d->part_premake && (!d->part_field || !d->part_template))
		return bad(e, "part_premake", "it needs part_field and part_template");
	return NULL;
}

/* The item of fields whose value picks the partition, where that is no column of the event. */
static const struct field *told_field(const struct dest *d)
{
	enum told told = d->part_by == PART_BY_EVTIME ? TOLD_EVTIME :
		d->part_by == PART_BY_BATCHTIME ? TOLD_BATCHTIME : TOLD_NOTHING;

	for (size_t i = d->nfield - d->nword; told != TOLD_NOTHING && i < d->nfield; i++)
		if (d->field[i].told == told)
			return &d->field[i];
	return NULL;
}

struct span dest_part_target(const struct dest *d)
{
	const struct field *told = told_field(d);
	struct span column = dest_part_column(d);

	if (told)
		return d->period.zoned ? told->target : span_of(NULL);
	for (size_t i = 0; i < d->nfield - d->nword && column.p; i++)
		if (span_eq(d->field[i].source, column))
			return d->field[i].target;
	return column;
}

/* Sets what a partition's bounds would be. */
static void try_bounds(const struct dest *d, struct template_words *words)
{
	struct span at = span_of(!d->part_field ? NULL : d->period.method == PERIOD_NUMBER ? "0" :
		"2000-01-01");

	words->numbers = d->period.method == PERIOD_NUMBER;
	if (d->period.method == PERIOD_LIST)
		words->value = span_of("x");
	else
		words->start = words->end = at;
}

/* Expands part_template once, to find errors that do not depend on the event. */
static const char *try_template(struct dest *d, struct err *e)
{
	struct buf part = { 0 }, out = { 0 };
	struct err why = { 0 };
	struct span pkey = span_of("id");
	char suffix[PERIOD_SUFFIX_MAX] = "_x";
	const char *key = NULL;

	if (!d->part_template)
		return NULL;
	if (d->period.method != PERIOD_LIST)
		period_suffix(&d->period, 0, suffix);
	buf_fmt(&part, "%.*s%s", (int)d->table.n, d->table.p, suffix);
	struct template_words words = {
		.schema = d->schema, .parent = d->table, .part = { part.p, part.len },
		.pkey = &pkey, .npkey = 1, .part_field = dest_part_target(d),
	};
	try_bounds(d, &words);
	if (nesting_check(span_of(d->part_template), &why) < 0 ||
	    template_expand(&out, span_of(d->part_template), &words, &why) < 0) {
		const char *what = why.msg;
		size_t n = strlen("part_template");
		if (strncmp(what, "part_template", n) == 0)     /* the caller names the key */
			what += n + strspn(what + n, ": ");
		if (told_field(d) && !d->period.zoned && strstr(what, "_PART_FIELD"))
			what = "_PART_FIELD would be a column in UTC, and part_timezone = text"
				" picks the partition by the session's date: set part_timezone ="
				" UTC";
		key = bad(e, "part_template", what);
	}
	buf_free(&part);
	buf_free(&out);
	return key;
}

/* ---- the destination as a whole */

struct span dest_part_column(const struct dest *d)
{
	return span_of(d->part_by == PART_BY_COLUMN ? d->part_field : NULL);
}

struct columns dest_columns(const struct dest *d)
{
	return (struct columns){
		.field = d->field, .n = d->nfield, .nword = d->nword, .all = d->all,
		.on_missing = d->on_missing, .skip = d->skip_fields,
		.part_field = dest_part_column(d).p,
	};
}

const char *dest_complete(struct dest *d, struct err *e)
{
	static const char *(*const steps[])(struct dest *, struct err *) = {
		choose_period, choose_keep, split_dest_table, check_lists, split_fields,
		check_row_mode, try_template,
	};
	const char *key = NULL;

	for (size_t i = 0; i < sizeof steps / sizeof *steps && !key; i++)
		key = steps[i](d, e);
	return key;
}
