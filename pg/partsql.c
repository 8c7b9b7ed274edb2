/*
 * The SQL that creates a partition: part_template with its words replaced. Sends nothing.
 */
#include "pq.h"

#define PKEY_MAX 33     /* columns: one more than a key may have, so that the server refuses it */

/* The columns of the event's primary key as the target names them; returns their number. */
static size_t pkey_columns(const struct part_want *want, struct buf *text,
	struct span pkey[PKEY_MAX])
{
	size_t n = type_pkey(want->ev_type, text, pkey, PKEY_MAX);

	for (size_t i = 0; i < n; i++)
		pkey[i] = route_target(want->route, pkey[i]);
	return n;
}

/* Sets the words about the partition's period, which borrow start and end. */
static void set_period(struct template_words *words, const struct part_want *want,
	char start[PERIOD_LITERAL_MAX], char end[PERIOD_LITERAL_MAX])
{
	const struct dest *d = want->dest;

	words->part_field = dest_part_target(d);
	words->numbers = d->period.method == PERIOD_NUMBER;
	period_literal(&d->period, want->start_s, start);
	if (d->period.method == PERIOD_LIST) {
		words->value = span_of(start);
		return;
	}
	period_literal(&d->period, want->end_s, end);
	words->start = span_of(start);
	words->end = span_of(end);
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

	if (d->part_by != PART_BY_NOTHING)
		set_period(&words, want, start, end);
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

int partsql_add(struct buf *sql, const struct part_want *want, struct err *e)
{
	return expand(sql, want, span_of(want->dest->part_template), e);
}

int partsql_add_split(struct buf *sql, const struct part_want *want, struct attach_split *split,
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
