/*
 * A destination: checks its keys together and derives the rest.
 *
 * Knows nothing of files: the caller says where the value of a key is from.
 */
#include <stdio.h>
#include <string.h>

#include "conf.h"

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
	if (d->table.n + period_suffix_len(d->period.method) > NAME_BYTES_MAX)
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
	if (!field->source.n || !field->target.n)
		return bad(e, "fields", "an empty name in the list");
	if (span_is(field->source, "*"))
		return bad(e, "fields", "* stands alone, or there is a list of names");
	if (field->target.n > NAME_BYTES_MAX)
		return bad(e, "fields", "a name over 63 bytes, more than the server takes");
	return NULL;
}

static const char *split_fields(struct dest *d, struct err *e)
{
	const char *p = d->fields;
	size_t max = 1;

	if (span_is(trimmed(p, strlen(p)), "*"))
		return NULL;
	for (const char *q = p; *q; q++)
		max += *q == ',';
	if (max > COLUMNS_MAX)
		return bad(e, "fields", "more columns than a table can have");
	d->field = mem_alloc(max * sizeof *d->field);
	for (; d->nfield < max; p += strcspn(p, ",") + 1) {
		struct field *field = &d->field[d->nfield++];
		const char *key = split_field(trimmed(p, strcspn(p, ",")), field, e);
		if (key)
			return key;
		for (size_t i = 0; i + 1 < d->nfield; i++)
			if (span_eq(d->field[i].target, field->target))
				return bad(e, "fields", "two columns with one name");
	}
	return NULL;
}

/* ---- part_... */

static const char *choose_period(struct dest *d, struct err *e)
{
	d->part_by = !d->part_field ? PART_BY_NOTHING :
		strcmp(d->part_field, "_EVTIME") == 0 ? PART_BY_EVTIME : PART_BY_COLUMN;
	if (!period_zone(&d->period, d->part_timezone))
		return bad(e, "part_timezone", "neither text, UTC nor a fixed offset such as"
			" +02:00");
	d->period.method = d->part_by == PART_BY_NOTHING ? PERIOD_NONE : d->part_method;
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
	if (!d->part_keep && d->part_late != PART_LATE_CREATE)
		return bad(e, "part_late", "it needs part_keep: without it no row is late");
	if (d->part_premake && (!d->part_field || !d->part_template))
		return bad(e, "part_premake", "it needs part_field and part_template");
	return NULL;
}

/* Expands part_template once, to find errors that do not depend on the event. */
static const char *try_template(struct dest *d, struct err *e)
{
	struct buf part = { 0 }, out = { 0 };
	struct err why = { 0 };
	struct span pkey = span_of("id"), at = span_of(d->part_field ? "2000-01-01" : NULL);
	char suffix[PERIOD_SUFFIX_MAX];
	const char *key = NULL;

	if (!d->part_template)
		return NULL;
	period_suffix(&d->period, 0, suffix);
	buf_fmt(&part, "%.*s%s", (int)d->table.n, d->table.p, suffix);
	struct template_words words = {
		.schema = d->schema, .parent = d->table, .part = { part.p, part.len },
		.pkey = &pkey, .npkey = 1, .part_field = dest_part_column(d),
		.start = at, .end = at,
	};
	if (nesting_check(span_of(d->part_template), &why) < 0 ||
	    template_expand(&out, span_of(d->part_template), &words, &why) < 0) {
		const char *what = why.msg;
		size_t n = strlen("part_template");
		if (strncmp(what, "part_template", n) == 0)     /* the caller names the key */
			what += n + strspn(what + n, ": ");
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

const char *dest_complete(struct dest *d, struct err *e)
{
	static const char *(*const steps[])(struct dest *, struct err *) = {
		choose_period, choose_keep, split_dest_table, split_fields, try_template,
	};
	const char *key = NULL;

	for (size_t i = 0; i < sizeof steps / sizeof *steps && !key; i++)
		key = steps[i](d, e);
	return key;
}
