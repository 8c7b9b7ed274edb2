/*
 * The row in an event: whether there is one, and which period it belongs to. All errors here are
 * ERR_DATA, the event's own.
 */
#include <string.h>

#include "private.h"

#define DATE_RAW_MAX 192                /* encoded bytes of a date that is worth decoding */

/* Does the type mark a row? It is I, U or D, a colon, and the primary key. */
static bool is_row_type(struct span type)
{
	return type.n > 1 && type.p[1] == ':' && memchr("IUD", type.p[0], 3);
}

/* Does it begin like urlencoded columns? At least one has a value, after an equals sign. */
static bool is_encoded(struct span data)
{
	size_t i = 0;

	while (i < data.n && data.p[i] != '=' && data.p[i] != '&')
		if (memchr(" \t\r\n\"'`(){}[]<>;\\", data.p[i++], 17))
			return false;
	return memchr(data.p, '=', data.n);
}

/* Blanks may stand before an object, where events are JSON whatever their first byte is. */
static bool is_object(struct span data)
{
	size_t i = 0;

	while (i < data.n && memchr(" \t\r\n", data.p[i], 4))
		i++;
	return i < data.n && data.p[i] == '{';
}

static int no_row(const struct event *ev, const char *why, struct err *e)
{
	struct buf type = { 0 };

	buf_printable(&type, ev->type, 60);
	err_set(e, ERR_DATA, "%s: there is no row in an event of type \"%s\"", why,
		buf_cstr(&type));
	buf_free(&type);
	return e->code;
}

static bool is_op(const struct event *ev, const char *op)
{
	return ev->op.p && span_is(ev->op, op);
}

int row_check_mode(const struct dest *d, const struct event *ev, struct err *e)
{
	if (d->row_mode == ROWS_LOG || is_op(ev, "I") || is_op(ev, "U") || is_op(ev, "D"))
		return 0;
	const char *mode = d->row_mode == ROWS_KEEP_ALL ? "keep_all" : "keep_latest";
	if (is_op(ev, "R"))
		return err_set(e, ERR_DATA, "the source table was truncated, and row_mode = %s"
			" would keep its rows: on_truncate = skip leaves them there", mode);
	struct buf type = { 0 };
	buf_printable(&type, ev->type, 60);
	err_set(e, ERR_DATA, "row_mode = %s takes inserts, updates and deletes, and no event of"
		" type \"%s\"", mode, buf_cstr(&type));
	buf_free(&type);
	return e->code;
}

/* Only a dead letter lacks what is asked for: an earlier version did not keep it. */
static int check_parts(const struct event *ev, struct err *e)
{
	if (ev->lacks)
		err_set(e, ERR_DATA, "its dead letter lacks %s, which fields or part_field asks"
			" for:"
			" an earlier version wrote it", ev->lacks & EVENT_TXID ? "ev_txid" :
			ev->lacks & EVENT_TIME ? "ev_time" : "the time of its tick");
	return e->code;
}

void row_tell(struct job *j, struct event *ev, enum format *format)
{
	bool object = ev->data.n && *ev->data.p == '{';
	bool json = j->of_table || j->conf->event_format == EVENT_JSON ||
		(j->conf->event_format == EVENT_AUTO && object);

	*format = !json ? FORMAT_URLENC : strcmp(j->style.encoding, "UTF8") == 0 ? FORMAT_JSON :
		FORMAT_JSON_ASCII;
	ev->op = type_is_json(ev->type) ? type_recall(&j->dests.types, ev->type) :
		type_op(ev->type, json);
}

int row_check(const struct event *ev, enum format format, struct err *e)
{
	bool encoded = ev->data.n && (is_row_type(ev->type) || is_encoded(ev->data));

	if (check_parts(ev, e) < 0)
		return e->code;
	if (type_is_json(ev->type) && !ev->op.p)
		return no_row(ev, "ev_type is no JSON object with the op of a row", e);
	if (type_is_json(ev->type) && format == FORMAT_URLENC)
		return no_row(ev, "ev_type is pgq.jsontriga's, and ev_data or event_format is not"
			" JSON", e);
	if (format != FORMAT_URLENC ? is_object(ev->data) : encoded)
		return 0;
	return no_row(ev, !ev->data.p ? "ev_data is NULL" : !ev->data.n ? "ev_data is empty" :
		format == FORMAT_URLENC ? "ev_data is not urlencoded" :
		"ev_data is no JSON object", e);
}

/* Must names be valid UTF-8? Yes if they are sent as UTF-8, or unconverted to a target in UTF-8. */
static bool must_be_utf8(const struct job *j)
{
	const struct pq *dst = j->dst[0] ? j->dst[0] : j->ddl;

	return strcmp(j->style.encoding, "UTF8") == 0 ||
		(strcmp(j->style.encoding, "SQL_ASCII") == 0 &&
		 strcmp(pq_server(dst)->encoding, "UTF8") == 0);
}

int row_check_names(const struct job *j, const struct event *ev, const struct shape *shape,
	struct err *e)
{
	struct buf shown = { 0 };
	size_t i = 0;

	if (!must_be_utf8(j))
		return 0;
	while (i < shape->n && text_is_utf8(shape->target[i]))
		i++;
	if (i == shape->n && text_is_utf8(ev->type))
		return 0;
	bool column = i < shape->n;
	buf_printable(&shown, column ? shape->target[i] : ev->type, 2 * NAME_BYTES_MAX);
	err_set(e, ERR_DATA, "%s %s is no valid UTF-8", column ? "the name of column" : "ev_type",
		buf_cstr(&shown));
	buf_free(&shown);
	return e->code;
}

static unsigned dest_parts(const struct dest *d)
{
	unsigned parts = 0;

	for (size_t i = d->nfield - d->nword; i < d->nfield; i++)
		parts |= told_part(d->field[i].told);
	if (d->row_mode == ROWS_KEEP_LATEST)
		parts |= EVENT_TABLE | EVENT_OLD;
	if (d->part_by == PART_BY_EVTIME)
		parts |= d->period.zoned ? EVENT_TIME : EVENT_LOCAL_TIME;
	if (d->part_by == PART_BY_BATCHTIME)
		parts |= d->period.zoned ? EVENT_BATCH_TIME : EVENT_LOCAL_BATCH_TIME;
	return parts;
}

unsigned row_parts(const struct conf *c)
{
	unsigned parts = c->nrule ? EVENT_TABLE : 0;

	for (size_t i = 0; conf_dest(c, i); i++)
		parts |= dest_parts(conf_dest(c, i));
	return parts;
}

static int no_period(const struct row_dates *d, struct span raw, const char *why, struct err *e)
{
	struct buf shown = { 0 };

	buf_printable(&shown, raw, 60);
	err_set(e, ERR_DATA, "column %s: \"%s\" picks no partition: %s", d->dest->part_field,
		buf_cstr(&shown), why);
	if (period_is_dated(&d->dest->period))
		style_explain(d->style, e);
	buf_free(&shown);
	return e->code;
}

static int number_in_list(const struct dest *d, struct span value, int64_t *start, const char **why)
{
	*why = "it must be 1 to 30 of ASCII letters, digits and _";
	if (!list_takes(value))
		return -1;
	*why = "the partition's name would be over 63 bytes, more than the server takes";
	if (d->table.n + strlen("_") + value.n > NAME_BYTES_MAX)
		return -1;
	*start = list_number(d->period.list, value);
	return 0;
}

/* As local_of_text. */
static int period_of_value(const struct dest *d, struct span value, int64_t *start_s,
	const char **why, struct err *e)
{
	const struct period_rule *rule = &d->period;

	if (rule->method == PERIOD_LIST)
		return number_in_list(d, value, start_s, why);
	if (rule->method == PERIOD_NUMBER)
		return number_of_text(rule, value, start_s, why);
	return rule->zone ? local_of_text(rule, value, start_s, why, e) :
		period_of_text(rule, value, start_s, why);
}

/* Decodes a value and finds its period. */
static int period_of_raw(const struct row_dates *d, const struct event *ev, enum format format,
	struct span raw, int64_t *start_s, struct err *e)
{
	char text[DATE_RAW_MAX];
	const char *why = period_is_dated(&d->dest->period) ? "it is too long for a date" :
		"it is too long";
	size_t bad;

	if (raw.n > sizeof text)
		return no_period(d, raw, why, e);
	const struct span column = span_of(d->dest->part_field);
	ssize_t n = format_decode(text, format, raw, &bad);
	if (n < 0)
		return format_refuse(format, ev->data, raw, bad, &column, e);
	const struct span value = { text, (size_t)n };
	if (period_of_value(d->dest, value, start_s, &why, e) == 0)
		return 0;
	return why ? no_period(d, value, why, e) : e->code;
}

/* The same for a time of the event itself. */
static int period_of_told(const struct row_dates *d, const struct event *ev, int64_t *start_s,
	struct err *e)
{
	const struct period_rule *rule = &d->dest->period;
	bool batch = d->dest->part_by == PART_BY_BATCHTIME;
	int64_t us = !rule->zoned ? ev->local_time : batch ? ev->batch_time : ev->time;
	const char *why;

	if ((rule->zone ? local_of_usecs(rule, us, start_s, &why, e) :
	    period_of_usecs(rule, us, start_s, &why)) == 0)
		return 0;
	return !why ? e->code : no_period(d, span_of(batch ? "the batch's time" :
		"the event's time"), why, e);
}

int row_period(struct row_dates *d, const struct event *ev, enum format format, struct span raw,
	int64_t *start_s, struct err *e)
{
	*start_s = 0;
	if (d->dest->period.method == PERIOD_NONE)
		return 0;
	if (d->dest->part_by != PART_BY_COLUMN)
		return period_of_told(d, ev, start_s, e);
	if (!raw.p)
		return err_set(e, ERR_DATA, "column %s is NULL: it picks no partition",
			d->dest->part_field);
	if (period_recall(&d->memo, raw, start_s))
		return 0;
	if (period_of_raw(d, ev, format, raw, start_s, e) == 0)
		period_remember(&d->memo, raw, *start_s);
	return e->code;
}
